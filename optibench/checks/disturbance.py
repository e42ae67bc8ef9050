"""What happened to the cores in use while something was measured: counters before and after, and their difference.

Sources: proc_stat(5) for /proc/stat; the kernel's admin guide (cgroup-v2, "CPU Interface Files") for cpu.stat; the
kernel's ABI documents (sysfs-devices-system-cpu, thermal_throttle).
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from optibench import host
from optibench.checks.base import absent, share_from
from optibench.values import Finding

WINDOW_SECONDS = 0.05
"""The shortest time over which the load of others is told: the kernel counts in hundredths of a second."""
BUSY_SHARE = 0.25
STEAL_SHARE = 0.01


class Counters(NamedTuple):
    """What the kernel had counted at one moment; seconds are those of all cores in use together. None: not known."""

    wall: float = 0.0
    cores: int = 1
    counted: float = 0.0
    idle: float = 0.0
    stolen: float | None = 0.0
    own: float = 0.0
    """What this process and its children that have ended used."""
    periods: int | None = 0
    throttled: int | None = 0
    hot: int | None = 0


START = Counters()
"""When the machine, and the container, were started."""


def load(before: Counters, after: Counters) -> Finding:
    """How much of the cores' time went to others: neither idle, nor ours, nor taken by the hypervisor."""
    name = "load by others"
    window = (after.wall - before.wall) * after.cores
    if after.counted - before.counted < window / 2:  # a kernel that does not count, or counts in a way of its own
        return absent(name)
    stolen = (after.stolen or 0.0) - (before.stolen or 0.0)
    others = max(0.0, window - (after.idle - before.idle) - (after.own - before.own) - stolen)
    fine = others / window < BUSY_SHARE
    return Finding(
        name=name,
        found=f"{share_from(others, window, BUSY_SHARE, 0.1)} of the cores' time",
        fine=fine,
        costs=""
        if fine
        else "Whoever shares a core waits for it: latencies rise, and bursts are left out as disturbed.",
        mend="" if fine else "Stop what else runs (top shows it), or give optibench cores of its own: taskset -c LIST.",
    )


def steal(before: Counters, after: Counters) -> Finding:
    """What the hypervisor gave to other guests while ours wanted to run; one step of the counter a core is let pass."""
    name = "steal"
    counted = after.counted - before.counted
    if after.stolen is None or counted <= 0:
        return absent(name)
    stolen = max(0.0, after.stolen - (before.stolen or 0.0) - _tick() * after.cores)
    fine = stolen / counted < STEAL_SHARE
    return Finding(
        name=name,
        found=f"{share_from(stolen, counted, STEAL_SHARE, 0.01)} of the cores' time taken by the hypervisor",
        fine=fine,
        costs=""
        if fine
        else "Calls take longer while the host runs other guests; a process cannot see which ones did.",
        mend="" if fine else "Use a machine with dedicated cores, or one whose host is less full.",
    )


def throttling(before: Counters, after: Counters) -> Finding:
    """How often the cgroup's quota was used up, and all threads were stopped until its next period."""
    name = "quota throttling"
    if after.periods is None or after.throttled is None:
        return absent(name)
    periods = after.periods - (before.periods or 0)
    throttled = after.throttled - (before.throttled or 0)
    if periods <= 0:
        return Finding(name=name, found="no quota in force", fine=True)
    fine = throttled <= 0
    return Finding(
        name=name,
        found="in none of the quota's periods" if fine else f"in {_part(throttled / periods)} of the quota's periods",
        fine=fine,
        costs="" if fine else "All threads stand still for the rest of such a period, which is 100 ms as a rule.",
        mend=""
        if fine
        else "Raise the container's CPU limit to its number of cores, or pin it: docker run --cpuset-cpus.",
    )


def heat(before: Counters, after: Counters) -> Finding:
    """Whether the cores, or their package, cut their clocks because they were too hot (Intel's counters)."""
    name = "thermal throttling"
    if after.hot is None:
        return absent(name)
    fine = after.hot <= (before.hot or 0)
    return Finding(
        name=name,
        found="none" if fine else "clocks were cut",
        fine=fine,
        costs=""
        if fine
        else "The clock falls until the processor has cooled: later rounds are slower than earlier ones.",
        mend=""
        if fine
        else "Better cooling, a pause before measuring, or a fixed lower clock: cpupower frequency-set -u.",
    )


def quota(limit: float | None, cores: int) -> Finding:
    """The cgroup's quota in CPUs beside the cores that threads may run on."""
    name = "cgroup quota"
    if limit is None:
        return Finding(name=name, found="none", fine=True)
    fine = limit >= cores
    return Finding(
        name=name,
        found=f"a quota of {limit:g} CPUs for {cores} cores",
        fine=fine,
        costs="" if fine else "Threads are stopped once it is used up.",
        mend="" if fine else "Pin the container to whole cores instead: docker run --cpuset-cpus.",
    )


# From text


def core_times_from_text(stat: str, cores: Iterable[int]) -> tuple[float, float, float | None]:
    """Seconds counted, idle and stolen of these cores, from /proc/stat (guests' time is within the user's)."""
    names = {f"cpu{core}" for core in cores}
    counted = idle = stolen = 0.0
    known = False
    for line in stat.splitlines():
        name, *words = line.split()[:9] or [""]
        if name in names and len(words) >= 5 and all(word.isdigit() for word in words):
            ticks = [int(word) * _tick() for word in words]
            counted += sum(ticks)
            idle += ticks[3] + ticks[4]
            known = known or len(ticks) > 7
            stolen += ticks[7] if len(ticks) > 7 else 0.0
    return counted, idle, stolen if known else None


def periods_from_text(stat: str) -> tuple[int, int] | None:
    """Periods of the quota, and those in which it was used up, from a cgroup's cpu.stat (version 1 or 2)."""
    fields = dict(line.split()[:2] for line in stat.splitlines() if len(line.split()) >= 2)
    periods, throttled = fields.get("nr_periods", ""), fields.get("nr_throttled", "")
    return (int(periods), int(throttled)) if periods.isdigit() and throttled.isdigit() else None


def _part(share: float) -> str:
    return "under 1%" if share < 0.01 else f"{share:.0%}"


def _tick() -> float:
    return 1.0 / os.sysconf("SC_CLK_TCK")


# From the machine


def counters(stat: Path = Path("/proc/stat"), cpus: Path = host.CPUS) -> Counters:
    """Now."""
    cores = host.affinity()
    counted, idle, stolen = core_times_from_text(host.read_text(stat), cores)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Every level of cgroups may have a quota of its own; the one that struck most is what is felt.
    levels = [found for text in host.cgroup_texts("cpu.stat") if (found := periods_from_text(text))]
    periods, throttled = max(levels, key=lambda level: level[::-1], default=(None, None))
    heats = [
        host.read_text(cpus / f"cpu{core}/thermal_throttle/{which}_throttle_count").strip()
        for core in cores
        for which in ("core", "package")
    ]
    return Counters(
        wall=time.monotonic(),
        cores=len(cores),
        counted=counted,
        idle=idle,
        stolen=stolen,
        own=sum(usage.ru_utime + usage.ru_stime for usage in used),
        periods=periods,
        throttled=throttled,
        hot=sum(int(text) for text in heats if text.isdigit()) if any(heats) else None,
    )


def look(since: Counters | None) -> Iterator[Finding]:
    """What happened ``since``; None: since the machine was started, and for the load of others, right now."""
    began = since or counters()
    time.sleep(max(0.0, WINDOW_SECONDS - (time.monotonic() - began.wall)))
    now = counters()
    yield load(began, now)
    yield throttling(since or START, now)
    yield steal(since or START, now)
    yield heat(since or START, now)
    yield quota(host.cgroup_limits().get("cpus"), len(host.affinity()))
