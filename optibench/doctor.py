"""What spoils measurements on this machine: findings, each with what it costs and how to mend it (docs/doctor.md).

The checks stand in ``checks/``, a file a group. They read files, import nothing heavy, and take well under 0.1 s, so
that every record can hold them: two runs are told apart by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from optibench.checks import clock, disturbance, libraries, memory, processor, variables
from optibench.checks.base import ABSENT
from optibench.checks.disturbance import Counters, counters
from optibench.values import Finding

__all__ = ["Counters", "Difference", "counters", "differences", "findings", "of_rounds", "sentence", "worst_first"]


def findings(since: Counters | None = None, of_gpus: Iterable[Finding] = ()) -> tuple[Finding, ...]:
    """Everything that was found, what disturbs most first.

    What is counted while it happens (others' load, steal, throttling) is told of the time ``since`` those counters;
    None means since the machine was started, and for others' load this moment. ``of_gpus``: what checks/gpu.py found,
    where GPUs matter.
    """
    return (
        *disturbance.look(since),
        *processor.look(),
        *memory.look(),
        *clock.look(),
        *variables.look(),
        *libraries.look(),
        *of_gpus,
    )


def worst_first(found: Iterable[Finding]) -> list[Finding]:
    """What is not fine, then what is, then what could not be read."""
    return sorted(found, key=lambda finding: (finding.fine, finding.found == ABSENT))


def sentence(finding: Finding) -> str:
    """A finding as a warning: what, what it costs, what to do."""
    said = f"{finding.name[0].upper()}{finding.name[1:]}: {finding.found}."
    return " ".join(part for part in (said, finding.costs, finding.mend) if part)


def of_rounds(rounds: Iterable[Sequence[Finding]]) -> tuple[Finding, ...]:
    """One finding a name for many rounds: the first that was not fine, else the last."""
    kept: dict[str, Finding] = {}
    for found in rounds:
        for finding in found:
            if finding.name not in kept or kept[finding.name].fine:
                kept[finding.name] = finding
    return tuple(kept.values())


class Difference(NamedTuple):
    """What one check found on two occasions."""

    name: str
    one: str
    other: str


def differences(one: Iterable[Finding], other: Iterable[Finding]) -> tuple[Difference, ...]:
    """What was different, by two records' (or comparisons') findings. What only one of them looked for, as versions of
    optibench differ, says nothing about the machines and is left out."""
    there = {finding.name: finding.found for finding in other}
    return tuple(
        Difference(finding.name, finding.found, there[finding.name])
        for finding in one
        if finding.name in there and there[finding.name] != finding.found
    )
