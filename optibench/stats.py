"""The statistics: which bursts count, the value of a round, intervals, verdicts, quantiles, paired changes.

Pure functions of numbers. The method and where it comes from: docs/method.md.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from optibench.values import Burst

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

FLOOR = 0.02
"""Differences of under 2% are called "same": smaller ones do not decide which build to ship."""
CPU_SHARE = 0.93
"""A burst that got less of the CPU than this share of its case's best was disturbed."""
SWITCHES = 4.0
"""... as was one that was switched out against its will this many times as often as the case usually is."""
PACE = 0.10
"""A block was slow if all cases together took this much longer (log ratio) in it than at their best."""
BEST = 10
"""A case's best: this percentile of its undisturbed bursts."""
MIN_BLOCKS = 10
"""A round with fewer undisturbed blocks has no value."""
LEAST_ROUNDS = 5
"""A verdict needs so many rounds with a value (or all of a run that asks for fewer)."""
TRIMMED = 0.1
"""Share of the rounds' values that is left out at each end of their mean."""
RESAMPLED = 250_000
"""So many numbers are resampled at once: of a large data set a few resamples, within some tens of MB."""
QUANTILE_SAMPLES = {0.5: 1, 0.9: 64, 0.99: 662, 0.999: 6640}
"""How many samples a quantile needs before it is shown (MLPerf Inference's rule for a 99% confidence)."""


def undisturbed(bursts: Sequence[Burst]) -> list[bool]:
    """Which of one case's bursts had the cores to themselves, judged against that case's own best.

    A process that waits for a core shows less CPU time per wall time than at its best (95th percentile), or is
    switched out against its will far more often than usual. The host's own disturbances do not show: pairing
    within a block meets those.
    """
    import numpy as np

    if not bursts:
        return []
    wall = np.array([max(sum(b.wall_ns), 1) for b in bursts], float)
    cpu, switches = np.array([(b.cpu_ns, b.switches) for b in bursts], float).T
    kept: list[bool] = undisturbed_of(wall, cpu, switches).tolist()
    return kept


def undisturbed_of(wall: Array, cpu: Array, switches: Array) -> Array:
    """``undisturbed`` for arrays whose last axis is one case's bursts."""
    import numpy as np

    share = cpu / wall
    # One switch a burst is ordinary whatever the rate, so the limit is never below a handful.
    limit = np.maximum(8.0, SWITCHES * np.median(switches / wall, axis=-1, keepdims=True) * wall)
    kept: Array = (share >= CPU_SHARE * np.percentile(share, 95, axis=-1, keepdims=True)) & (switches <= limit)
    return kept


def slow(logs: Array) -> Array:
    """Which blocks the machine ran slowly in: log times of undisturbed bursts in (..., cases, blocks), NaN where there
    is none.

    A host that shares cores among its guests, or lowers the clock, slows everything without taking CPU time, and some
    builds more than others: an int8 product by half where fp32 lost a quarter. That makes ratios of their own. It is
    told by all cases together, so that no build's own slow bursts are left out for being slow.
    """
    import warnings

    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a case or a block without any burst that counts
        best = np.nanpercentile(logs, BEST, axis=-1, keepdims=True)
        found: Array = np.nanmedian(logs - best, axis=-2) > PACE
    return found


def blocks_needed(planned: int, steady: bool = False) -> int:
    """How many undisturbed blocks a round of ``planned`` ones needs for a value: of a short run's two thirds. Half as
    many are enough where slow blocks are left out: those at one pace differ far less than those at two."""
    needed = min(MIN_BLOCKS, math.ceil(planned * 2 / 3))
    return math.ceil(needed / 2) if steady else needed


def round_value(
    candidate: Sequence[Burst],
    candidate_kept: Sequence[bool],
    base: Sequence[Burst],
    base_kept: Sequence[bool],
    steady: bool = False,
) -> tuple[float | None, int]:
    """One round's value: the median over blocks of log(candidate's median / base's median), and the blocks it is
    of. Only blocks count in which both were undisturbed; with fewer than ``blocks_needed`` there is no value (None).
    """
    import numpy as np

    def medians(bursts: Sequence[Burst], kept: Sequence[bool]) -> dict[int, float]:
        return {b.block: statistics.median(b.wall_ns) for b, keep in zip(bursts, kept, strict=True) if keep}

    mine, theirs = medians(candidate, candidate_kept), medians(base, base_kept)
    logs = [math.log(mine[block] / theirs[block]) for block in mine if block in theirs]
    planned = len({b.block for b in (*candidate, *base)})  # slow shapes let some of a round's blocks pass
    value = float(value_of(np.array([logs]), blocks_needed(planned, steady))[0])
    return (None if math.isnan(value) else value), len(logs)


def value_of(logs: Array, needed: int) -> Array:
    """The values of rounds from their blocks' log ratios (last axis), of which so many must count; NaN is a block that
    does not count, and a round without a value."""
    import numpy as np

    count = np.isfinite(logs).sum(axis=-1)
    enough = count >= needed
    found = np.full(count.shape, np.nan)
    found[enough] = np.nanmedian(logs[enough], axis=-1)
    return found


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Low, mean and high of the interval of the rounds' mean. One value alone has an unbounded interval.

    It is Student's t of the mean; from ten values on, of the mean without the TRIMMED share at each end (Yuen,
    Biometrika 1974), since now and then a round has a process that something slowed all the while.
    """
    from scipy.special import stdtrit

    mean, variance, left = _trimmed(values)
    if left < 2:
        return -math.inf, mean, math.inf
    half = float(stdtrit(left - 1, (1 + confidence) / 2)) * math.sqrt(variance)
    return mean - half, mean, mean + half


def half_width(values: Sequence[float]) -> float:
    """How far the 95% interval of the rounds' mean reaches to either side; unbounded with fewer than two values."""
    if len(values) < 2:
        return math.inf
    low, _, high = mean_interval(values)
    return (high - low) / 2


def welch_interval(
    values: Sequence[float], base: Sequence[float], confidence: float = 0.95, trimmed: float = TRIMMED
) -> tuple[float, float, float]:
    """Low, difference and high of ``mean(values) - mean(base)`` by Welch's t: two sets of rounds, each with a spread
    of its own (Welch, 1947), their means trimmed as ``mean_interval`` trims them (Yuen's test), unless ``trimmed`` is
    0 (history's table of error rates is of plain means). Where either has fewer than two values it is unbounded."""
    from scipy.special import stdtrit

    (mine, my_variance, my_left), (theirs, their_variance, their_left) = (
        _trimmed(each, trimmed) for each in (values, base)
    )
    difference, variance = mine - theirs, my_variance + their_variance
    if min(my_left, their_left) < 2:
        return -math.inf, difference, math.inf
    if variance == 0:
        return difference, difference, difference
    freedom = variance**2 / (my_variance**2 / (my_left - 1) + their_variance**2 / (their_left - 1))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(variance)
    return difference - half, difference, difference + half


def _trimmed(values: Sequence[float], share: float = TRIMMED) -> tuple[float, float, int]:
    """The trimmed mean, its own variance (0.0 of one value), and how many values it is of."""
    import numpy as np

    ordered = np.sort(np.asarray(values, float))
    count, cut = len(ordered), int(len(ordered) * share)
    left = count - 2 * cut
    mean = float(ordered[cut : count - cut].mean())
    if count < 2:
        return mean, 0.0, left
    drawn_in = np.clip(ordered, ordered[cut], ordered[count - cut - 1])  # winsorized: its spread is the trimmed mean's
    return mean, float(np.var(drawn_in)) * count / (left * (left - 1)), left


def verdict(low: float, high: float, floor: float = FLOOR) -> str:
    """Faster, slower or same, if the whole interval of the log ratio says so; else unknown (not yet)."""
    edge = math.log1p(floor)
    if low > edge:
        return "slower"
    if high < -edge:
        return "faster"
    if -edge <= low and high <= edge:
        return "same"
    return "unknown"


def quantile(samples: Array, q: float) -> float | None:
    """The q-quantile of the samples, or None where they are too few for it to mean anything."""
    import numpy as np

    return float(np.quantile(samples, q)) if len(samples) >= QUANTILE_SAMPLES[q] else None


def variation(bursts: Sequence[Burst], kept: Sequence[bool]) -> float:
    """Coefficient of variation within bursts, the median over undisturbed ones."""
    import numpy as np

    inside = [
        float(np.std(b.wall_ns) / np.mean(b.wall_ns))
        for b, keep in zip(bursts, kept, strict=True)
        if keep and len(b.wall_ns) > 2
    ]
    return float(np.median(inside)) if inside else 0.0


def paired_change(
    metric: Callable[[Array, Array], Array],
    candidate: Array,
    reference: Array,
    labels: Array,
    *,
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, float, float]:
    """Low, value and high of ``metric(candidate) - metric(reference)``: a paired bootstrap (percentile, 95%) over
    the examples, so that what both get right or wrong alike does not widen it (Efron & Tibshirani, 1993).
    """
    import numpy as np

    n = len(labels)
    value = float((metric(candidate[None], labels[None]) - metric(reference[None], labels[None]))[0])
    if np.array_equal(candidate, reference):  # so are all resamples
        return value, value, value
    rng = np.random.default_rng(seed)
    changes: list[Array] = []
    width = candidate[0].size if n else 1
    step = max(1, RESAMPLED // max(n * width, 1))
    for start in range(0, resamples, step):
        index = rng.integers(0, n, (min(step, resamples - start), n))
        change = metric(candidate[index], labels[index]) - metric(reference[index], labels[index])
        changes.append(change)
    low, high = np.nanpercentile(np.concatenate(changes), [2.5, 97.5])
    if not (math.isfinite(low) and math.isfinite(high)):  # a metric that is undefined on every resample
        low = high = value
    return float(low), value, float(high)


def unpaired_change(value: float, count: int, base: float, base_count: int) -> tuple[float, float, float]:
    """Low, value and high of ``value - base`` (95%) where the examples' own outcomes are not at hand. A mean of numbers
    from 0 to 1 varies by at most p(1-p), as shares do; of other scores nothing is known, and it is unbounded."""
    change = value - base
    if not (0 <= value <= 1 and 0 <= base <= 1 and count > 0 and base_count > 0):
        return -math.inf, change, math.inf
    half = 1.96 * math.sqrt(value * (1 - value) / count + base * (1 - base) / base_count)
    return change - half, change, change + half


# Metrics: predictions and labels of shape (resamples, examples) in, one value a resample out.


def accuracy(predictions: Array, labels: Array) -> Array:
    """Share of examples whose prediction is the label."""
    result: Array = (predictions == labels).mean(axis=1)
    return result


def f1_macro(predictions: Array, labels: Array) -> Array:
    """Unweighted mean of the classes' F1 (a class that is neither predicted nor present does not count)."""
    import numpy as np

    classes = np.union1d(np.unique(predictions), np.unique(labels))
    total = np.zeros(len(predictions))
    present = np.zeros(len(predictions))
    for c in classes:
        mine, true = predictions == c, labels == c
        either = mine.sum(axis=1) + true.sum(axis=1)
        total += np.where(either > 0, 2 * (mine & true).sum(axis=1) / np.maximum(either, 1), 0.0)
        present += either > 0
    result: Array = total / np.maximum(present, 1)
    return result


def spearman(predictions: Array, labels: Array) -> Array:
    """Spearman's rank correlation, ties by mean rank; 0 where one side does not vary."""
    import numpy as np
    from scipy.stats import rankdata

    def centred(values: Array) -> Array:
        ranks = rankdata(values, axis=1)
        result: Array = ranks - ranks.mean(axis=1, keepdims=True)
        return result

    a, b = centred(predictions), centred(labels)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    result: Array = np.where(scale > 0, (a * b).sum(axis=1) / np.where(scale > 0, scale, 1), 0.0)
    return result


def rank_at_most(k: int) -> Callable[[Array, Array], Array]:
    """The metric "true answer among the first k", for predictions that are the rank (0 is best) of the truth."""

    def metric(predictions: Array, labels: Array) -> Array:
        result: Array = (predictions < k).mean(axis=1)
        return result

    return metric
