"""Waiting for a quiet machine: how much of the cores others use, looked at in a short sleep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from optibench.progress import duration

LOOK_SECONDS = 1.0
PAUSE_SECONDS = 4.0
"""Between two looks: others' work that is worth waiting for rarely ends within less."""
QUIET_SHARE = 0.10
"""Of the cores this process may use. Ordinary background work stays below it; turns meet the rest (stats.py)."""

Say = Callable[[str], None]


def busy_share(seconds: float = LOOK_SECONDS) -> float | None:
    """The share (0 to 1) of this process's cores that others used in a sleep of ``seconds``; None where the system
    does not tell. Processes of our own that still run count as others: there are none between rounds."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    before, own = ticks_from_text(_stat(), cores), time.process_time()
    time.sleep(seconds)
    after, own = ticks_from_text(_stat(), cores), time.process_time() - own
    busy, total = after[0] - before[0], after[1] - before[1]
    if total <= 0:
        return None
    mine = own * os.sysconf("SC_CLK_TCK")
    return min(1.0, max(0.0, (busy - mine) / total))


def ticks_from_text(stat: str, cores: Collection[int]) -> tuple[int, int]:
    """Busy ticks and all ticks so far of these cores, from /proc/stat. What the host took away (steal) is busy."""
    busy = total = 0
    for line in stat.splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            # user nice system idle iowait irq softirq steal; guests are counted in user and nice already
            values = [int(number) for number in numbers[:8]]
            total += sum(values)
            busy += sum(values) - sum(values[3:5])
    return busy, total


def _stat() -> str:
    try:
        return Path("/proc/stat").read_text()
    except OSError:
        return ""


@dataclass
class Patience:
    """How long a run may yet wait for others to end: ``wait`` spends it, before each round."""

    allowance_seconds: float
    say: Say
    busy: Callable[[], float | None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    waited_seconds: float = 0.0

    def wait(self, most_seconds: float) -> float | None:
        """Sleeps until others leave the cores alone, for ``most_seconds`` or what is left of the allowance at most.
        None: the machine is quiet, or does not tell; else the share that others use still."""
        most = min(most_seconds, self.allowance_seconds - self.waited_seconds)
        if most <= 0:
            return None
        start, before = self.clock(), self.waited_seconds
        while (share := self.busy()) is not None and share >= QUIET_SHARE:
            self.waited_seconds = before + self.clock() - start
            left = most - (self.waited_seconds - before)
            if left <= 0:
                return share
            self.say(
                f"waiting: others use {share:.0%} of the cores; {duration(self.waited_seconds)} of "
                f"{duration(self.allowance_seconds)} waited (--wait-quiet)"
            )
            self.sleep(min(PAUSE_SECONDS, left))
            self.waited_seconds = before + self.clock() - start
        return None
