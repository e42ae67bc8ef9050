"""Where a series of runs changes its level: pure numbers, the search by ruptures.

The rule and its error rates: docs/history.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from optibench import stats
from optibench.errors import OptibenchError

MIN_RUNS = 6
"""Fewer runs have no two levels of MIN_LEVEL runs, and no noise that could be told from a step."""
MIN_LEVEL = 3
"""A level is that of so many runs at least: two values have next to no interval."""
PENALTY = 3.0
"""A further change must lower the squared error by this many times noise² · log(runs)."""
LEAST_NOISE = 1e-3
"""Runs that agree better than this by chance do not make a step of what is left."""


def change_points(values: Sequence[float], floor: float = stats.FLOOR) -> list[int]:
    """Indices of the first value of each new level of a series of logarithms; [] if there are under MIN_RUNS.

    Candidates come from an exact search for the levels of least squared error (PELT; Killick, Fearnhead and Eckley,
    JASA 2012). A candidate stays if Welch's 95% interval of the step lies wholly beyond the floor; while one does
    not, the weakest is taken out and the levels beside it become one.
    """
    if len(values) < MIN_RUNS:
        return []
    import numpy as np

    search = _ruptures().Pelt(model="l2", min_size=MIN_LEVEL, jump=1)
    penalty = PENALTY * noise(values) ** 2 * math.log(len(values))
    points: list[int] = search.fit(np.asarray(values, float).reshape(-1, 1)).predict(pen=penalty)[:-1]
    while points:
        strengths = [strength(*levels_beside(values, points, index)) for index in range(len(points))]
        weakest = min(range(len(points)), key=strengths.__getitem__)
        if strengths[weakest] > math.log1p(floor):
            break
        del points[weakest]
    return points


def noise(values: Sequence[float]) -> float:
    """Standard deviation from one run to the next, from the median difference of neighbours: steps are few, so they
    do not count in it."""
    import numpy as np

    return max(LEAST_NOISE, float(1.4826 * np.median(np.abs(np.diff(values))) / math.sqrt(2)))


def levels_beside(
    values: Sequence[float], points: Sequence[int], index: int
) -> tuple[Sequence[float], Sequence[float]]:
    """The values of the levels before and after the change ``points[index]``."""
    edges = [0, *points, len(values)]
    return values[edges[index] : edges[index + 1]], values[edges[index + 1] : edges[index + 2]]


def strength(before: Sequence[float], after: Sequence[float]) -> float:
    """How far from none the step is at least: the end of its 95% interval that is nearer to 0; 0 if that holds 0."""
    low, _, high = stats.welch_interval(after, before, trimmed=0.0)
    return 0.0 if low <= 0 <= high else min(abs(low), abs(high))


def _ruptures() -> Any:
    try:
        import ruptures
    except ImportError as error:
        raise OptibenchError("Change points need the package ruptures: pip install 'optibench[history]'") from error
    return ruptures
