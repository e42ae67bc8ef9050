"""How long a run will take, roughly, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from optibench import plugins
from optibench.cache import Cache
from optibench.measure import LONG_CALL_SECONDS
from optibench.plan import Plan
from optibench.tasks.base import kind_of
from optibench.values import Value

STEPS: dict[str, Callable[[int], float]] = {
    "text": lambda length: max(length, 1),
    "image": lambda length: 197,
    "sound": lambda length: length / 320,
}
"""About how many vectors a row makes inside a model: its tokens; the patches of a picture of 224 pixels a side; 50 a
second of sound."""


class Estimate(Value, frozen=True, kw_only=True):
    """How long a run will take, roughly: seconds of building what is not cached, and of measuring."""

    to_build: int
    build_seconds: float
    process_seconds: float
    """One process in one round."""
    processes: int
    rounds: int

    @property
    def round_seconds(self) -> float:
        return self.process_seconds * self.processes

    @property
    def seconds(self) -> float:
        return self.build_seconds + self.round_seconds * self.rounds

    @property
    def sentence(self) -> str:
        """For a person: a range, since it is a guess."""
        low, high = self.seconds * 0.7, self.seconds * 1.6
        artifacts, rounds = ("" if number == 1 else "s" for number in (self.to_build, self.rounds))
        return (
            f"About {low / 60:.1f} to {high / 60:.1f} minutes: {self.to_build} artifact{artifacts} to build "
            f"({self.build_seconds:.0f} s), {self.rounds} round{rounds} of {self.round_seconds:.0f} s, "
            "more where a comparison is undecided or a figure imprecise."
        )


def estimate(plan: Plan, cache: Cache, recipes: Sequence[dict[str, object] | None], weights_bytes: int) -> Estimate:
    """From the sizes: a 90 MB encoder took 8 s to export, 15 s to quantize and 15 ms a call on two cores (see
    reports/bench). A guess, shown as one; the run itself keeps its budget by what it sees."""
    wanted = {msgspec.json.encode(r, order="deterministic"): r for r in recipes if r is not None}
    missing = [r for r in wanted.values() if not cache.holds(dict(r))]
    scale = max(0.3, weights_bytes / 90e6)
    build = sum(4 * scale + 2 + (3 * scale if r.get("kind") == "quantize" else 0) for r in missing)
    build += 6 if missing else 0
    cases = len(plan.runnable) + (1 if plan.reference else 0)
    work = plan.workload
    kind = kind_of(plugins.load("task", plan.model.ref.task))
    calls = [0.012 * scale * s.batch * STEPS[kind](s.length) / 128 for s in work.shapes]
    turn = sum(
        max(work.burst_seconds, work.least_calls * call) + (0.02 if call > LONG_CALL_SECONDS else call + 0.02)
        for call in calls
    )
    turn += 0.009 * scale * sum(shape.new_tokens for shape in work.shapes)  # each reads all weights
    opening = 1.2 + sum(max(0.12, 3 * call) for call in calls)
    fits = (work.budget_seconds / work.rounds / max(1, cases) - opening) / turn
    return Estimate(
        to_build=len(missing),
        build_seconds=build,
        process_seconds=opening + turn * max(work.least_blocks, min(work.blocks, fits)),
        processes=cases,
        rounds=work.rounds,
    )
