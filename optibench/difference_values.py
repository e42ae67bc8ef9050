"""What `optibench diff` says, as values: two runs, what changed, each case of both (difference.py computes them)."""

from __future__ import annotations

from typing import Literal

from optibench.results import Interval
from optibench.values import ModelRef, Value

DIFFERENCE_SCHEMA = 1

Basis = Literal["reference", "clock"]
Verdict = Literal["faster", "slower", "better", "worse", "smaller", "larger", "same", "unknown", "reference"]


class RunSide(Value, frozen=True, kw_only=True):
    """One of the two runs."""

    run: str
    model: ModelRef
    created: str
    optibench_version: str
    machine: str
    reference: str | None
    tier: str
    rounds: int
    recommended: str | None


class Quantity(Value, frozen=True, kw_only=True):
    """One thing of a case in both runs. ``change``: B over A as a ratio with its 95% interval, for a score B - A; None
    where it cannot be computed. ``reason``: why there is no verdict."""

    name: Literal["latency", "speedup", "score", "size", "memory"]
    unit: str
    a: float | None
    b: float | None
    change: Interval | None = None
    verdict: Verdict = "unknown"
    reason: str | None = None


class CaseDifference(Value, frozen=True, kw_only=True):
    """One case at one shape in both runs; ``verdict`` is that of the quantity that the difference goes by."""

    case: str
    shape: str
    verdict: Verdict
    quantities: tuple[Quantity, ...]
    same_artifact: bool | None

    def quantity(self, name: str) -> Quantity | None:
        """What was found of that; None where neither run knows it."""
        return next((quantity for quantity in self.quantities if quantity.name == name), None)


class NotCompared(Value, frozen=True, kw_only=True):
    """Cases, or a kind of figure, that cannot be compared."""

    what: str
    reason: str


class Difference(Value, frozen=True, kw_only=True):
    """B against A. ``basis``: ``reference`` where each case's speed-up over the reference of its own run is compared
    (the same model on the same kind of machine), ``clock`` where latencies are."""

    schema: int = DIFFERENCE_SCHEMA
    optibench_version: str
    a: RunSide
    b: RunSide
    basis: Basis
    basis_reason: str
    changes: tuple[str, ...]
    cases: tuple[CaseDifference, ...]
    not_compared: tuple[NotCompared, ...]
    warnings: tuple[str, ...] = ()
