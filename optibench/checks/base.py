"""What all checks share: a finding that cannot be made, lists of cores, and shares as words that two runs can share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from optibench.values import Finding

ABSENT = "not available here"


def absent(name: str) -> Finding:
    """What cannot be read on this system (a container, another kernel) is neither good nor bad."""
    return Finding(name=name, found=ABSENT, fine=True)


def cores_from_text(text: str) -> tuple[int, ...]:
    """The kernel's lists of cores: ``0-3,8,10-11``. What is no number is left out."""
    found: set[int] = set()
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def text_from_cores(cores: Iterable[int]) -> str:
    """The same the other way round, as taskset takes it."""
    ordered = sorted(cores)
    starts = [core for before, core in pairwise([-2, *ordered]) if core != before + 1]
    ends = [core for core, after in pairwise([*ordered, -2]) if after != core + 1]
    return ",".join(f"{start}" if start == end else f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


def distinct(texts: Mapping[int, str]) -> str:
    """What the cores say of themselves, each word once: ``performance``, or ``performance, powersave``."""
    return ", ".join(sorted({text.strip() for text in texts.values() if text.strip()}))


def share_from(part: float, whole: float, least: float, step: float) -> str:
    """A share in words: ``under 25%``, from there on to the next ``step``: what differs between two runs by less
    means nothing."""
    share = part / whole
    return f"under {least:.0%}" if share < least else f"{max(least, round(share / step) * step):.0%}"
