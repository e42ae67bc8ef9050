"""What a worker times: a warm-up until the median stands still, bursts of calls, and the wait until it is quiet.

Small on purpose: it runs inside the process that is measured. Everything clever is the parent's (turns.py, stats.py).
"""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optibench.values import Burst

MOST_CALLS = 500
"""Calls of one burst at most, so that the record of a very fast model stays small."""
WARM_WINDOW_SECONDS = 0.06
WARM_LIMIT_SECONDS = 1.5
LONG_CALL_SECONDS = 0.3
"""What the others leave in the caches costs a call some milliseconds, however long it is (docs/method.md)."""
SETTLED = 0.03
"""The warm-up ends when the medians of two windows in a row differ by less than this."""
QUIET_STEP_SECONDS = 0.004
QUIET_STEPS = 3
"""So many steps in a row without CPU time, and a process is quiet. The kernel adds the time of threads that are
running at its tick (every 4 to 10 ms), so one short step alone may miss threads that spin."""
QUIET_LIMIT_SECONDS = 0.25
QUIET_SHARE = 0.05
"""Less than this share of a core in a step is quiet: looking itself costs some."""


@dataclass(frozen=True, eq=False)
class Timed:
    """What is timed: ``call``, over and over. Where each call goes on from the one before (the tokens of a text),
    ``rewind`` goes back to the beginning, which is not counted, and exactly ``calls`` follow, so that all are timed at
    the same places."""

    call: Callable[[], Any]
    rewind: Callable[[], Any] | None = None
    calls: int = 0


class Meter:
    """Times calls with the process's clocks (or a fake session's own, see backends/fake.py)."""

    def __init__(self, clocks: Any = None) -> None:
        self.wall = clocks.wall_ns if clocks else time.perf_counter_ns
        self.cpu = clocks.cpu_ns if clocks else time.process_time_ns
        self.sleep = clocks.sleep if clocks else time.sleep
        self.switches = clocks.switches if clocks else _switches
        self.idle_since = (self.wall(), self.cpu())
        self.long: dict[Timed, bool] = {}

    def first_call(self, timed: Timed) -> tuple[float, Any]:
        """Seconds of one call, and what it returned."""
        if timed.rewind:
            timed.rewind()
        start = self.wall()
        outputs = timed.call()
        return (self.wall() - start) / 1e9, outputs

    def warm_up(self, timed: Timed, further: bool = False) -> tuple[int, bool]:
        """Calls until the running median stands still, or until the limit; the number of calls and whether it did.
        ``further``: the process is warm, but for this shape; a long call or two warm that."""
        window, least = (WARM_WINDOW_SECONDS / 2, 1) if further else (WARM_WINDOW_SECONDS, 3)
        start, calls, last = self.wall(), 0, 0.0
        while True:
            if timed.rewind:
                timed.rewind()
            times = self._window(timed, window, least)
            calls += len(times)
            median = statistics.median(times)
            self.long[timed] = median > LONG_CALL_SECONDS * 1e9
            settled = (last > 0 and abs(median / last - 1) < SETTLED) or (further and self.long[timed])
            if settled or (self.wall() - start) / 1e9 > WARM_LIMIT_SECONDS:
                self.until_quiet()
                return calls, settled
            last = median

    def burst(
        self,
        timed: Timed,
        block: int,
        seconds: float,
        least: int = 2,
        look: Callable[[], None] = lambda: None,
    ) -> Burst:
        """One turn: a call (or a rewinding) that is not counted, then calls for ``seconds`` or at least ``least`` (or
        just as many as ``timed`` says); then rest. Where calls are long, the first counts too. ``look`` is called in
        between, while the device is as the calls left it."""
        idle_wall, idle_cpu = self.wall() - self.idle_since[0], self.cpu() - self.idle_since[1]
        if timed.rewind or not self.long.get(timed):
            (timed.rewind or timed.call)()  # what the others left in the caches is not this build's cost
        collecting = gc.isenabled()
        gc.disable()
        try:
            switches, cpu = self.switches(), self.cpu()
            times = self._window(timed, seconds, least)
            cpu, switches = self.cpu() - cpu, self.switches() - switches
        finally:
            if collecting:
                gc.enable()
        look()
        self.until_quiet()
        return Burst(
            block=block,
            wall_ns=tuple(times),
            cpu_ns=cpu,
            switches=switches,
            idle_cpu_ns=idle_cpu,
            idle_wall_ns=idle_wall,
        )

    def _window(self, timed: Timed, seconds: float, least: int) -> list[int]:
        call, clock = timed.call, self.wall
        times: list[int] = []
        most, least = (timed.calls, timed.calls) if timed.calls else (MOST_CALLS, least)
        end = clock() + int(seconds * 1e9)
        while True:
            start = clock()
            call()
            stop = clock()
            times.append(stop - start)
            if (stop >= end and len(times) >= least) or len(times) >= most:
                return times

    def until_quiet(self) -> None:
        """Sleeps until this process's threads have stopped spinning, so that the next one's turn is its own."""
        end, quiet = self.wall() + int(QUIET_LIMIT_SECONDS * 1e9), 0
        while quiet < QUIET_STEPS and self.wall() < end:
            wall, cpu = self.wall(), self.cpu()
            self.sleep(QUIET_STEP_SECONDS)
            quiet = quiet + 1 if self.cpu() - cpu < QUIET_SHARE * (self.wall() - wall) else 0
        self.idle_since = (self.wall(), self.cpu())


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def peak_bytes() -> int:
    """Peak resident memory of this process so far.

    Not ru_maxrss where it can be helped: on Linux that starts at what the parent had when it forked.
    """
    try:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
