"""Which of a run's bursts count, and what each round says of two cases: pure functions of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from optibench import stats
from optibench.values import Burst, Case, Record, Series, Shape

Key = tuple[int, int]
"""Round and group."""


@dataclass(frozen=True)
class Sampled:
    """One case's bursts at one shape in one round (and group). ``undisturbed``: which had the cores to themselves;
    ``kept``: those of them that its figures are made of, without slow blocks where the case can do without them."""

    bursts: tuple[Burst, ...]
    undisturbed: list[bool]
    kept: list[bool]


Rounds = dict[Key, Sampled]


def reference_of(records: Iterable[Record]) -> Case | None:
    """The reference: the case that has a twin."""
    return next((untwinned(r.case) for r in records if r.case.copy == 1), None)


def untwinned(case: Case) -> Case:
    """The case itself, of a case or its twin."""
    import msgspec

    return msgspec.structs.replace(case, copy=0)


def builds(records: Iterable[Record]) -> list[Record]:
    """The records of cases: those of the machine's limits (limits.py) are left out."""
    return [record for record in records if not record.case.is_limit]


class Samples:
    """The bursts of a run's builds. Each question is answered once."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.least = min(records[-1].workload.rounds, stats.LEAST_ROUNDS) if records else 0
        """How many rounds with a value a verdict needs."""
        self._series: dict[Shape, dict[Case, dict[Key, Series]]] = {}
        for record in builds(records):
            for series in record.measurement.series if record.measurement else ():
                cases = self._series.setdefault(series.shape, {})
                cases.setdefault(record.case, {})[record.round, record.group] = series
        self._flags: dict[tuple[Case, Shape], dict[Key, list[bool]]] = {}
        self._found: dict[tuple[Case, Shape], Rounds] = {}
        self._slow: dict[Shape, set[tuple[Key, int]]] = {}

    def of(self, case: Case, shape: Shape) -> Rounds:
        """A case's bursts at a shape by round and group; disturbed ones are told by the case's best over all rounds."""
        if (case, shape) not in self._found:
            self._found[case, shape] = self._sampled(case, shape)
        return self._found[case, shape]

    def values(self, candidate: Case, base: Case, shape: Shape) -> dict[Key, float]:
        """The value of every round that has one, in order: without slow blocks, if that leaves enough rounds a value;
        else of all undisturbed ones."""
        found = self._values(candidate, base, shape, steady=True)
        return found if len(found) >= self.least else self._values(candidate, base, shape, steady=False)

    def mixed(self, candidate: Case, base: Case, shape: Shape) -> bool:
        """Whether their values had to be made of blocks at different paces of the machine."""
        steady, every = (len(self._values(candidate, base, shape, steady=steady)) for steady in (True, False))
        return steady < min(self.least, every)

    def _values(self, candidate: Case, base: Case, shape: Shape, steady: bool) -> dict[Key, float]:
        mine, theirs, slow = self.of(candidate, shape), self.of(base, shape), self.slow_blocks(shape)
        found = {}
        for key in sorted(mine.keys() & theirs.keys()):
            one, other = mine[key], theirs[key]
            value, _ = stats.round_value(one.bursts, one.undisturbed, other.bursts, other.undisturbed)
            if value is not None and steady:
                flags = _steady(key, one, slow), _steady(key, other, slow)
                value, _ = stats.round_value(one.bursts, flags[0], other.bursts, flags[1], steady=True)
            if value is not None:
                found[key] = value
        return found

    def round_values(self, candidate: Case, base: Case, shape: Shape) -> list[float]:
        """The value of every round that has one, in order."""
        return list(self.values(candidate, base, shape).values())

    @cached_property
    def slow_share(self) -> float:
        """The share of blocks in which the whole machine was slow."""
        slow = sum(len(self.slow_blocks(shape)) for shape in self._series)
        return slow / max(1, sum(len(self._blocks(shape)) for shape in self._series))

    def slow_blocks(self, shape: Shape) -> set[tuple[Key, int]]:
        """The blocks in which all cases together took longer than at their best, CPU time or not (stats.slow)."""
        if shape not in self._slow:
            self._slow[shape] = self._slow_blocks(shape)
        return self._slow[shape]

    def _blocks(self, shape: Shape) -> list[tuple[Key, int]]:
        rounds = [item for cases in self._series.get(shape, {}).values() for item in cases.items()]
        return sorted({(key, burst.block) for key, series in rounds for burst in series.bursts})

    def _undisturbed(self, case: Case, shape: Shape) -> dict[Key, list[bool]]:
        if (case, shape) not in self._flags:
            found = self._series.get(shape, {}).get(case, {})
            flags = iter(stats.undisturbed([burst for series in found.values() for burst in series.bursts]))
            self._flags[case, shape] = {key: [next(flags) for _ in series.bursts] for key, series in found.items()}
        return self._flags[case, shape]

    def _sampled(self, case: Case, shape: Shape) -> Rounds:
        found, undisturbed = self._series.get(shape, {}).get(case, {}), self._undisturbed(case, shape)
        slow = self.slow_blocks(shape)
        every = {key: Sampled(series.bursts, undisturbed[key], undisturbed[key]) for key, series in found.items()}
        steady = {key: replace(one, kept=_steady(key, one, slow)) for key, one in every.items()}
        enough = [one for one in steady.values() if _counts(one.undisturbed) and _counts(one.kept, steady=True)]
        return steady if len(enough) >= self.least else every

    def _slow_blocks(self, shape: Shape) -> set[tuple[Key, int]]:
        import numpy as np

        cases, blocks = self._series.get(shape, {}), self._blocks(shape)
        place = {block: number for number, block in enumerate(blocks)}
        logs = np.full((len(cases), len(blocks)), np.nan)
        for row, (case, rounds) in zip(logs, cases.items(), strict=True):
            for key, flags in self._undisturbed(case, shape).items():
                for burst, fine in zip(rounds[key].bursts, flags, strict=True):
                    if fine:
                        row[place[key, burst.block]] = np.log(max(sum(burst.wall_ns), 1) / len(burst.wall_ns))
        return {block for block, slow in zip(blocks, stats.slow(logs), strict=True) if slow}


def _counts(flags: list[bool], steady: bool = False) -> bool:
    """Whether a round with these blocks may have a value."""
    return sum(flags) >= stats.blocks_needed(len(flags), steady)


def _steady(key: Key, one: Sampled, slow: set[tuple[Key, int]]) -> list[bool]:
    """Which bursts are undisturbed and lie in no slow block."""
    return [fine and (key, b.block) not in slow for b, fine in zip(one.bursts, one.undisturbed, strict=True)]
