"""Memory: what is free, what was moved out, the size of pages, where things lie.

Sources: proc_meminfo(5); the kernel's admin guide (vm.swappiness, "Transparent Hugepage Support",
kernel.randomize_va_space); for the layout of addresses, Mytkowicz and others, "Producing Wrong Data Without Doing
Anything Obviously Wrong!" (ASPLOS 2009), and pyperf, which wants it random for the same reason: many processes average
over layouts, one fixed layout favours one build.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from optibench import host
from optibench.checks.base import absent
from optibench.values import Finding

SWAP_BYTES = 100_000_000
"""Less is what any machine that has been up for a while moves out and never wants back."""
FREE_SHARES = ((0.5, "more than half"), (0.25, "a quarter to half"), (0.1, "a tenth to a quarter"))


def free(meminfo: str, limit: int | None) -> Finding:
    """What may be taken without swapping, of the machine's memory or of the cgroup's ``limit``, whichever is less."""
    name, memory = "free memory", host.memory_from_text(meminfo)
    total, available = memory.get("MemTotal"), memory.get("MemAvailable")
    if not total or available is None:
        return absent(name)
    total = min(total, limit or total)
    share = min(available, total) / total
    words = next((words for least, words in FREE_SHARES if share >= least), "")
    return Finding(
        name=name,
        found=f"{words or 'under a tenth'} of {total / 1e9:.0f} GB",
        fine=bool(words),
        costs="" if words else "Builders and workers may be killed, and cases that cannot live together are split up.",
        mend="" if words else "Stop what holds memory (ps aux --sort=-rss shows it), or take a larger machine.",
    )


def swap(meminfo: str, swappiness: str) -> Finding:
    """Whether memory was moved out to a disk."""
    name, memory = "swap", host.memory_from_text(meminfo)
    if "SwapTotal" not in memory or "SwapFree" not in memory:
        return absent(name)
    if not memory["SwapTotal"]:
        return Finding(name=name, found="there is none", fine=True)
    used = memory["SwapTotal"] - memory["SwapFree"]
    fine = used < SWAP_BYTES
    eager = f"swappiness {swappiness.strip()}" if swappiness.strip() else "swappiness not known"
    return Finding(
        name=name,
        found=f"none in use ({eager})" if fine else f"{max(1, round(used / 1e9))} GB or so in use ({eager})",
        fine=fine,
        costs="" if fine else "What was moved out is read back when it is touched: loading and first calls vary.",
        mend="" if fine else "Free memory, then as root: swapoff -a && swapon -a; or sysctl vm.swappiness=1",
    )


def huge_pages(enabled: str) -> Finding:
    """Who gets large pages: all (always), those that ask (madvise), none (never). It tells machines apart."""
    chosen = re.search(r"\[(\w+)\]", enabled)
    if not chosen:
        return absent("transparent huge pages")
    asks = chosen[1] != "always"
    return Finding(
        name="transparent huge pages",
        found=chosen[1],
        fine=True,
        costs="Only programs that ask for them get large pages; large weights may be read faster with them."
        if asks
        else "",
    )


def layout(randomize: str) -> Finding:
    """Whether addresses differ from process to process (kernel.randomize_va_space: 0, 1 or 2)."""
    name, value = "address layout", randomize.strip()
    if value not in ("0", "1", "2"):
        return absent(name)
    found = {"0": "fixed (ASLR off)", "1": "partly random", "2": "random (ASLR on)"}[value]
    fine = value == "2"
    return Finding(
        name=name,
        found=found,
        fine=fine,
        costs=""
        if fine
        else "Every round has the same layout, which may favour one build; rounds do not average over it.",
        mend="" if fine else "sysctl kernel.randomize_va_space=2",
    )


def look() -> Iterator[Finding]:
    """This machine's."""
    meminfo = host.read_text("/proc/meminfo")
    yield free(meminfo, host.cgroup_limits().get("memory_bytes"))
    yield swap(meminfo, host.read_text("/proc/sys/vm/swappiness"))
    yield huge_pages(host.read_text("/sys/kernel/mm/transparent_hugepage/enabled"))
    yield layout(host.read_text("/proc/sys/kernel/randomize_va_space"))
