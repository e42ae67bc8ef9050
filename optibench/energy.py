"""The energy of a call, by a counter that moves in steps.

NVIDIA's driver adds to its counter every some tens of milliseconds, as a burst lasts. So energy has a run of calls of
its own, apart from what is timed: it begins and ends at a step of the counter, and lasts many of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from optibench.gpu_values import Energy

SECONDS = 1.0
LOOK_SECONDS = 0.005
"""Between two looks at the counter: rare enough not to make the device wait, often enough to place a step within a
hundredth of the run."""
PATIENCE_SECONDS = 2.0
"""A counter that has not moved for so long does not count."""


def spent(
    call: Callable[[], Any],
    millijoules: Callable[[], int | None],
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> Energy | None:
    """Calls for at least ``seconds`` between two steps of the counter, and what it counted there. None where there is
    no counter, or it stands still."""
    counted, looked = millijoules(), clock()
    if counted is None:
        return None
    calls, moved = 0, looked
    begin: tuple[int, int, float] | None = None
    while True:
        call()
        calls += 1
        now = clock()
        if now - looked < LOOK_SECONDS:
            continue
        before, counted, looked = counted, millijoules(), now
        if counted is None or counted < before:
            return None
        if counted == before:
            if now - moved > PATIENCE_SECONDS:
                return None
            continue
        moved = now
        if begin is None:
            begin = (counted, calls, now)
        elif now - begin[2] >= seconds:
            return Energy(joules=(counted - begin[0]) / 1e3, calls=calls - begin[1], seconds=now - begin[2])
