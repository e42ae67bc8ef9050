"""What a gate says, as values: its limits, and one verdict a case and shape. judge.py computes them (docs/gate.md)."""

from __future__ import annotations

from typing import Literal

from optibench.errors import OptibenchError
from optibench.values import Value

GATE_SCHEMA = 1

GateVerdict = Literal["pass", "improved", "regressed", "unknown", "not measured"]
OnUnknown = Literal["rerun", "fail", "pass"]
AspectName = Literal["latency", "accuracy", "memory", "size"]


class Limits(Value, frozen=True, kw_only=True):
    """What a case may lose before it is a regression. Latency, memory and size as shares of the baseline's (0.05 is
    5%); accuracy in points of the score itself (0.01 is one point of a hundred: 0.90 may become 0.89)."""

    max_slowdown: float = 0.05
    max_accuracy_drop: float = 0.01
    max_memory_growth: float = 0.10
    max_size_growth: float = 0.05

    def checked(self) -> Limits:
        """Itself. Error: a limit that cannot be meant."""
        for name in self.__struct_fields__:
            value, most = getattr(self, name), 1.0 if name == "max_accuracy_drop" else 10.0
            percent = isinstance(value, int) and value != 0  # 5 is meant as 5%, and would allow 500%
            if percent or not 0 <= value <= most:  # NaN is not either
                raise OptibenchError(
                    f"--{name.replace('_', '-')} takes 0% to {most:.0%}, not {value:.6g} ({value:.0%}). "
                    "In Python 5% is 0.05."
                )
        return self


class Aspect(Value, frozen=True, kw_only=True):
    """One thing that was compared. ``change`` is a share for latency, memory and size (0.1: a tenth more), points of
    the score for accuracy (-0.04: four points of a hundred lost); None where no round counts. ``low`` and ``high``
    are its 95% interval, if it has one."""

    name: AspectName
    verdict: GateVerdict
    change: float | None
    low: float | None = None
    high: float | None = None
    message: str


class GateCase(Value, frozen=True, kw_only=True):
    """One case at one shape, held against the baseline. ``second``: what a second, fresh measurement said of a
    regression; ``impossible`` where one was asked for and could not be made, None where none was asked for."""

    case: str
    shape: str
    verdict: GateVerdict
    message: str
    aspects: tuple[Aspect, ...] = ()
    second: Literal["confirmed", "refuted", "impossible"] | None = None

    @property
    def name(self) -> str:
        return f"{self.case} at {self.shape}"

    def aspect(self, name: AspectName) -> Aspect | None:
        """What was found of that; None where it could not be compared."""
        return next((aspect for aspect in self.aspects if aspect.name == name), None)


class GateResult(Value, frozen=True, kw_only=True):
    """A whole gate. ``exit_code``: 0 passed, 1 a regression, 2 no telling (then ``sentence`` says why)."""

    schema: int = GATE_SCHEMA
    optibench_version: str
    model: str
    run: str
    baseline: str
    limits: Limits
    on_unknown: OnUnknown
    exit_code: int
    sentence: str
    cases: tuple[GateCase, ...]
    new_cases: tuple[str, ...] = ()
    """Measured by the run, unknown to the baseline: told, not judged."""
    notes: tuple[str, ...] = ()
    """What differs between the two runs without forbidding the comparison, and what could not be done."""

    @property
    def passed(self) -> bool:
        return self.exit_code == 0

    def with_verdict(self, verdict: GateVerdict) -> tuple[GateCase, ...]:
        """The cases of that verdict."""
        return tuple(case for case in self.cases if case.verdict == verdict)
