"""The clock that everything is measured with: where it comes from, its step, and what a reading costs.

Source: Red Hat Enterprise Linux for Real Time, reference guide, "Timestamping" (which clock sources are slow to read).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

from optibench import host
from optibench.checks.base import absent
from optibench.values import Finding

SLOW_SOURCES = ("hpet", "acpi_pm", "pit", "jiffies", "refined-jiffies", "xen")
"""Read through the kernel or a device, or coarse."""
FINE_NS = 1000
READINGS = 200


def source(current: str, available: str) -> Finding:
    """The kernel's clock source."""
    name, now = "clock source", current.strip()
    if not now:
        return absent(name)
    if now not in SLOW_SOURCES:
        return Finding(name=name, found=now, fine=True)
    better = [other for other in available.split() if other not in SLOW_SOURCES]
    folder = "/sys/devices/system/clocksource/clocksource0"
    return Finding(
        name=name,
        found=now,
        fine=False,
        costs="Each reading of the clock goes through the kernel or is coarse: short calls look longer than they are.",
        mend=f"As root: echo {better[0]} > {folder}/current_clocksource"
        if better
        else "The kernel found no better one (dmesg | grep -i clocksource says why): measure longer calls.",
    )


def timer(step_ns: int, cost_ns: int) -> Finding:
    """perf_counter_ns: the least difference of two readings that differ, and the median time of a reading."""
    fine = step_ns < FINE_NS and cost_ns < FINE_NS
    return Finding(
        name="timer",
        found=f"step {_coarse(step_ns)}, a reading costs {_coarse(cost_ns)}",
        fine=fine,
        costs="" if fine else f"Calls under {max(step_ns, cost_ns) / 10_000:.1f} ms are measured to worse than 1%.",
        mend="" if fine else "See the clock source; a virtual machine may need its host's help.",
    )


def _coarse(nanoseconds: int) -> str:
    """In steps that do not change from run to run."""
    for limit in (100, FINE_NS):
        if nanoseconds < limit:
            return f"under {limit} ns" if limit < 1000 else "under 1 µs"
    return f"{nanoseconds / 1000:.0f} µs"


def look() -> Iterator[Finding]:
    """This machine's."""
    folder = "/sys/devices/system/clocksource/clocksource0/"
    yield source(host.read_text(folder + "current_clocksource"), host.read_text(folder + "available_clocksource"))
    readings = [time.perf_counter_ns() for _ in range(READINGS)]
    steps = sorted(after - before for before, after in pairwise(readings))
    yield timer(next((step for step in steps if step), FINE_NS), steps[len(steps) // 2])
