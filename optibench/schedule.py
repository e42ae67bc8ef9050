"""Which comparisons further rounds go to, in which order, and how long that takes: decided from records and a clock.

docs/method.md ("Where rounds go") says why these and no others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from optibench import recommend, stats
from optibench.comparison import case_results, imprecise, undecided
from optibench.pairs import open_pairs
from optibench.plan import counterpart_of, twin_of
from optibench.results import CaseResult
from optibench.samples import Samples, reference_of
from optibench.values import Artifact, Case, Record, Workload

ANY = 1_000_000
"""Room for every process."""
SLACK = 1.15
"""A further round is begun only if it fits in the budget by this much, going by the last one. One of the least may
exceed it by as much: a run that ends short of them has no verdict."""


@dataclass(frozen=True)
class Open:
    """A comparison that wants rounds. ``cases`` are what a round must hold for it besides the reference and its twin;
    ``gain`` is how much faster than the recommended build it may yet show one to be, as a log ratio (0: not at all)."""

    cases: tuple[Case, ...]
    gain: float


def open_comparisons(records: Sequence[Record]) -> list[Open]:
    """The comparisons that are not decided, first those that could change the recommendation, the largest possible
    gain first; then the rest, in the records' order. Empty: no further round is worth its time.

    In a run of two sides the comparisons are those of each build with itself on the other side."""
    if any(record.case.variant for record in records):
        return [Open(cases=(case, counterpart_of(case)), gain=0.0) for case in open_pairs(records)]
    reference = reference_of(records)
    if reference is None:
        return []
    results = case_results(records)
    found = recommend.by_case(results)
    best = recommend.recommended_case(results, reference.name)
    cases = {r.case.name: r.case for r in records if not r.case.copy}
    waiting = undecided(records)
    result = [Open(cases=(case,), gain=_gain(found.get(case.name, []), found.get(best or "", []))) for case in waiting]
    if best and best != reference.name:
        for name, mine in found.items():
            sound = recommend.faster(mine) and all(r.within_floor for r in mine)
            if sound and name != best and cases[name] not in waiting:
                gain = possible_gain(records, cases[best], cases[name])
                result += [Open(cases=(cases[best], cases[name]), gain=gain)] if gain else []
    return sorted(result, key=lambda one: -one.gain)


def _gain(results: Sequence[CaseResult], best: Sequence[CaseResult]) -> float:
    """How much faster than the recommended case one without a verdict may be: by its interval's favourable end."""
    if any(r.within_floor is False for r in results):
        return 0.0
    highs = [math.log(r.speedup.high) for r in results if r.speedup]
    if not highs or len(highs) < len(results):
        return math.inf
    return max(0.0, math.fsum(highs) / len(highs) - (math.log(recommend.speed(best)) if best else 0.0))


def possible_gain(records: Sequence[Record], case: Case, other: Case) -> float:
    """How much faster than ``case`` the ``other`` may be (log ratio of time, mean over shapes), if that is above the
    floor of 2% and rounds may yet tell; else 0. Compared directly, within their common rounds."""
    workload = records[-1].workload
    samples = Samples(records)
    by_shape = [samples.values(other, case, shape) for shape in workload.shapes]
    common = set.intersection(*(set(values) for values in by_shape))
    values = [math.fsum(values[key] for values in by_shape) / len(by_shape) for key in common]
    if len(values) >= workload.max_rounds:
        return 0.0
    low = stats.mean_interval(values)[0] if values else -math.inf
    return -low if low < -math.log1p(stats.FLOOR) else 0.0


def cases_of_round(
    records: Sequence[Record],
    living: Sequence[Case],
    reference: Case | None,
    workload: Workload,
    number: int,
    room: int,
    spare: int = 0,
) -> tuple[list[Case], list[Case]]:
    """What round ``number`` holds, and which of those that want it find no room: all living cases in the least
    rounds, then those whose comparison is open; when all is decided, those whose figure is imprecise, as far as they
    find ``spare`` room. The reference and its twin are always among them. ([], []): done."""
    base = [reference, twin_of(reference)] if reference in living and reference else []
    if number <= workload.rounds:
        everyone = [*base, *(case for case in living if case not in base)]
        return (everyone, []) if len(everyone) <= room else ([], everyone)
    comparisons = open_comparisons(records)
    if not comparisons and not any(record.case.variant for record in records):
        held = [*base, *imprecise(records)[: max(0, spare - len(base))]]
        return (held, []) if len(held) > len(base) else ([], [])
    chosen = cases_that_fit(comparisons, room - len(base))
    wanted = dict.fromkeys(case for one in comparisons for case in one.cases)
    held = list(dict.fromkeys((*base, *chosen))) if chosen else []
    return held, [case for case in wanted if case not in chosen]


def cases_that_fit(comparisons: Sequence[Open], room: int) -> list[Case]:
    """The cases of as many comparisons as ``room`` processes hold, by their order; none is held by half."""
    chosen: dict[Case, None] = {}
    for one in comparisons:
        wanted = dict.fromkeys((*chosen, *one.cases))
        if len(wanted) <= room:
            chosen = wanted
    return list(chosen)


def groups_of(
    cases: Sequence[Case], reference: Case | None, artifacts: dict[Case, Artifact], free: int
) -> list[list[Case]]:
    """Cases that may live together in ``free`` bytes of memory; each group holds the reference and its twin.

    A process needs about its weights twice over while it loads, and its runtime. The estimate is rough on purpose:
    it decides only whether a large model's cases must be split.
    """

    def need(case: Case) -> int:
        runtime = 600_000_000 if case.backend.startswith("pytorch") else 250_000_000
        return runtime + int(2.2 * artifacts[case].bytes)

    base = [case for case in cases if reference and case in (reference, twin_of(reference))]
    rest = [case for case in cases if case not in base]
    room = int(free * 0.8) - sum(map(need, base))
    # Both sides of a build take turns with each other, so they are never split.
    together: dict[Case, list[Case]] = {}
    for case in rest:
        together.setdefault(msgspec.structs.replace(case, variant=""), []).append(case)
    groups: list[list[Case]] = []
    used = 0
    for members in together.values():
        needed = sum(map(need, members))
        if not groups or used + needed > room:
            groups.append(list(base))
            used = 0
        groups[-1] += members
        used += needed
    return groups or [base]


class Budget:
    """The time that measuring may take, and how long a process in a round takes: by the plan's guess before the
    first round, then by the last one."""

    def __init__(
        self,
        workload: Workload,
        seconds_a_process: float,
        spent_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workload = workload
        self.pace = seconds_a_process
        self.spent = spent_seconds
        self.clock = clock
        self.end = clock() + workload.budget_seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - self.clock()

    @property
    def room(self) -> int:
        """How many processes a further round may hold."""
        return self._room(self.left)

    @property
    def room_of_least(self) -> int:
        """How many one of the least rounds may hold."""
        return self._room(self.left * SLACK**2)

    @property
    def spare(self) -> int:
        """How many it may hold for better figures alone: for those the budget counts what was spent on building too,
        so that a run in which all is decided ends within it as a whole."""
        return self._room(self.left - self.spent)

    def share(self, rounds: int) -> float:
        """Seconds for the next of so many rounds: such that each finds room for the one after it."""
        return self.left / max(1, rounds) / SLACK

    def _room(self, seconds: float) -> int:
        return max(0, int(seconds / (self.pace * SLACK))) if self.pace > 0 else ANY

    def took(self, processes: int, seconds: float) -> None:
        """Tells what a round took."""
        self.pace = seconds / max(1, processes)

    def to_come(self, number: int, processes: int) -> float:
        """Seconds from the start of round ``number`` to the end: about what the rest of the least rounds takes; past
        those, at most what is left, since a verdict may come with any round."""
        rounds = self.workload.rounds - number + 1
        return max(0.0, min(self.left, rounds * processes * self.pace) if rounds > 0 else self.left)
