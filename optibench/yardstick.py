"""Python functions timed as cases are: in turns with a reference, so that what disturbs the machine hits both alike."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from optibench.errors import OptibenchError

BURST_SECONDS = 0.02


@dataclass(frozen=True)
class FunctionRound:
    """One round: the function's calls in seconds, and the median over blocks of log(its time / the yardstick's)."""

    seconds: list[float]
    log_ratio: float


def yardstick() -> int:
    """A fixed piece of work for the interpreter: what is timed is compared with it, so that a slower machine alone
    changes nothing. Never change it, or every baseline is void."""
    total = 0
    for number in range(5_000):
        total += number * number % 7
    return total


def in_turns(function: Callable[[], object], *, rounds: int, blocks: int, seed: int = 0) -> list[FunctionRound]:
    """Times ``function`` and the yardstick in turns: ``rounds`` of ``blocks``, in each both once in random order, for
    20 ms or at least one call. Round by round, since what drifts lets blocks of one round resemble each other."""
    if min(rounds, blocks) < 1:
        raise OptibenchError(f"A function is timed in one round of one block at least, not {rounds} of {blocks}.")
    rng = random.Random(seed)  # noqa: S311 (an order, no secret)
    found = []
    for _ in range(rounds):
        logs: list[float] = []
        mine: list[float] = []
        for _ in range(blocks):
            times: dict[Callable[[], object], list[float]] = {}
            for turn in rng.sample([function, yardstick], 2):
                times[turn] = _burst(turn)
            logs.append(math.log(statistics.median(times[function]) / statistics.median(times[yardstick])))
            mine += times[function]
        found.append(FunctionRound(seconds=mine, log_ratio=statistics.median(logs)))
    return found


def _burst(function: Callable[[], object]) -> list[float]:
    clock, times = time.perf_counter, []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = clock() + BURST_SECONDS
        while True:
            start = clock()
            function()
            stop = clock()
            times.append(max(stop - start, 1e-9))  # a clock's tick may be longer than a very short call
            if stop >= end:
                return times
    finally:
        if collecting:
            gc.enable()
