"""The gate's verdicts: pure functions of a run, a baseline and limits. docs/gate.md says what each verdict means."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from optibench import plugins, stats
from optibench.baseline import Baseline, CaseFigures, ShapeFigures, unpacked
from optibench.comparable import check_subject, unfair
from optibench.errors import OptibenchError
from optibench.pairs import Pair
from optibench.values import Shape
from optibench.verdicts import Aspect, GateCase, GateVerdict, Limits

Paired = Mapping[tuple[str, Shape], Pair]
"""Every build whose two sides took turns in the same rounds, by case and shape."""

WORST: tuple[GateVerdict, ...] = ("regressed", "not measured", "unknown", "improved", "pass")


def judge(
    run: Baseline,
    baseline: Baseline,
    limits: Limits,
    *,
    pattern: str = "*",
    only: Collection[str] | None = None,
    paired: Paired | None = None,
    allow_different_hardware: bool = False,
) -> tuple[GateCase, ...]:
    """A verdict for every case and shape of the baseline that ``pattern`` (and ``only``, names) lets through.

    Latency is judged by the ratios to the reference of either's own run. Where both sides took turns in one run, it is
    by their direct ratios, and every build of ``paired`` gets a verdict, unless neither side could run it.
    Errors: the two are not about the same thing; the machine or the yardstick differs; no case.
    """
    if paired is not None:  # both are of one machine, and that they differ is what the user wants to have judged
        return tuple(
            _case(run, baseline, case, shape, limits, pair)
            for (case, shape), pair in paired.items()
            if not pair.neither and fnmatchcase(case, pattern) and (only is None or case in only)
        )
    check_subject(run, baseline)
    differences = unfair(run, baseline)
    if differences and not allow_different_hardware:
        raise OptibenchError(
            f"No verdict: the run and the baseline were measured on different ground: {'; '.join(differences)}. "
            "Measure on the same kind of machine, save a baseline for this one, or say --allow-different-hardware."
        )
    chosen = [case for case in baseline.cases if fnmatchcase(case.case, pattern)]
    if not chosen:
        names = ", ".join(case.case for case in baseline.cases) or "none"
        raise OptibenchError(f"No case of the baseline is named like {pattern!r}. It has: {names}.")
    return tuple(
        _case(run, baseline, case.case, figures.shape, limits)
        for case in chosen
        if only is None or case.case in only
        for figures in case.shapes
    )


def undecided(cases: Sequence[GateCase], baseline: Baseline | None) -> list[str]:
    """Names of the cases that more rounds of the run could decide: not those whose baseline (None: both sides are in
    the run) has too few itself."""

    def open_yet(case: GateCase) -> bool:
        latency = case.aspect("latency")
        if case.verdict != "unknown" or latency is None or latency.verdict != "unknown":
            return False
        base = baseline.case(case.case) if baseline else None
        shapes = base.shapes if base else ()
        return baseline is None or any(f.shape.name == case.shape and len(f.log_ratios) > 1 for f in shapes)

    return list(dict.fromkeys(case.case for case in cases if open_yet(case)))


def confirmed(first: Sequence[GateCase], second: Sequence[GateCase]) -> tuple[GateCase, ...]:
    """The first verdicts after a second, fresh measurement of what had regressed. A regression stands if the second
    finds the same thing regressed; else the second's verdict counts, which is the less surprised of the two."""
    again = {case.name: case for case in second}
    return tuple(_confirmed(case, again.get(case.name)) if case.verdict == "regressed" else case for case in first)


def _confirmed(first: GateCase, second: GateCase | None) -> GateCase:
    if second is None:
        return msgspec.structs.replace(first, second="impossible")
    both = {a.name for a in first.aspects if a.verdict == "regressed"} & {
        a.name for a in second.aspects if a.verdict == "regressed"
    }
    if both:
        text = f"{first.message}. Confirmed by a second measurement: {second.message}"
        return msgspec.structs.replace(first, second="confirmed", message=text)
    text = f"{first.message}. A second measurement did not confirm it: {second.message}"
    verdict = second.verdict if second.verdict in ("pass", "improved") else "unknown"
    return msgspec.structs.replace(second, verdict=verdict, message=text, second="refuted")


# One case at one shape


def _case(
    run: Baseline, baseline: Baseline, name: str, shape: Shape, limits: Limits, pair: Pair | None = None
) -> GateCase:
    mine, base = run.case(name), baseline.case(name)
    new, old = (one.at(shape) if one and one.status == "ok" else None for one in (mine, base))
    reason = pair.reason if pair and pair.status != "ok" else _not_measured(mine, new, base, old)
    reason = reason or _other_metric(run, mine, base)
    if reason or mine is None or new is None or base is None or old is None:
        return GateCase(case=name, shape=shape.name, verdict="not measured", message=reason or "not measured")
    latency = None
    if pair:
        interval = stats.mean_interval(pair.values) if pair.values else None
        latency = _latency(interval, limits.max_slowdown) if interval else _busy("the run")
    elif name != baseline.reference:
        latency = _latency_of(new.log_ratios, old.log_ratios, limits.max_slowdown)
    found = (
        latency,
        _accuracy(run, baseline, mine, base, limits.max_accuracy_drop),
        _memory(new.peak_bytes, old.peak_bytes, limits.max_memory_growth),
        _growth("size", "artifact", mine.artifact_bytes, base.artifact_bytes, limits.max_size_growth),
    )
    aspects = tuple(aspect for aspect in found if aspect)
    verdict: GateVerdict = next((v for v in WORST if any(a.verdict == v for a in aspects)), "not measured")
    return GateCase(case=name, shape=shape.name, verdict=verdict, message=_message(aspects, verdict), aspects=aspects)


def _not_measured(
    mine: CaseFigures | None, new: ShapeFigures | None, base: CaseFigures | None, old: ShapeFigures | None
) -> str | None:
    if mine is None:
        return "the run has no such case"
    if mine.status != "ok":
        return f"{mine.status} in the run: {mine.reason or 'no reason was recorded'}"
    if new is None:
        return "the run did not measure this shape"
    if base is None or old is None:
        return "the other side did not measure this shape"
    if base.scores and not mine.scores:
        return "the run did not judge its accuracy, and the baseline has one"
    return None


def _message(aspects: Sequence[Aspect], verdict: GateVerdict) -> str:
    """What decided, and where that is not latency, latency first: faster but below the floor is a regression."""
    if not aspects:
        return "nothing that both have measured"
    shown = [a for a in aspects if a.verdict == verdict] if verdict in ("regressed", "unknown") else list(aspects)
    latency = next((a for a in aspects if a.name == "latency"), None)
    lead = f"{latency.message}, but " if latency and latency not in shown else ""
    return lead + "; ".join(a.message for a in shown)


# Latency


def _latency_of(values: Sequence[float], base: Sequence[float], limit: float) -> Aspect:
    if values and base:
        interval = stats.welch_interval(values, base)
        found = _latency(interval, limit)
        if len(base) < 2:
            text = f"{_speed(interval[1])}; the baseline has one round, so nobody can tell: save one of more"
            return msgspec.structs.replace(found, message=text)
        return found
    return _busy("the baseline" if values else "the run")


def _busy(whose: str) -> Aspect:
    text = f"no round of {whose} counts, since other load took the cores: measure on a quieter machine"
    return Aspect(name="latency", verdict="unknown", change=None, message=text)


def _latency(interval: tuple[float, float, float], limit: float) -> Aspect:
    """From the interval of the log ratio to a verdict: only a whole interval on one side of the limit decides."""
    low, mid, high = interval
    edge = math.log1p(limit)
    verdict: GateVerdict = "unknown"
    if low > edge:
        verdict = "regressed"
    elif high < -math.log1p(stats.FLOOR):
        verdict = "improved"
    elif high <= edge:
        verdict = "pass"
    bounded = math.isfinite(low) and math.isfinite(high)
    within = f" ({_speed(low)} to {_speed(high)})" if bounded else " (one round: no interval)"
    allowed = f", allowed: {_percent(limit)} slower" if verdict in ("regressed", "unknown") else ""
    text = _speed(mid) + within + allowed
    if verdict == "unknown":
        text += ": too few rounds to tell"
    return Aspect(
        name="latency",
        verdict=verdict,
        change=math.expm1(mid),
        low=math.expm1(low) if bounded else None,
        high=math.expm1(high) if bounded else None,
        message=text,
    )


def _speed(log_ratio: float) -> str:
    share = math.expm1(log_ratio)
    if _percent(abs(share)) == "0%":
        return "as fast"
    return f"{_percent(abs(share))} {'slower' if share > 0 else 'faster'}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".rstrip("0").rstrip(".") + "%"


# Accuracy


def _accuracy(run: Baseline, baseline: Baseline, mine: CaseFigures, base: CaseFigures, limit: float) -> Aspect | None:
    """The task's first metric: by how many points it changed, and whether it keeps to the floor.

    A drop beyond the limit whose interval excludes no change is a regression; beyond the limit without that, nobody
    can tell; within the limit it is allowed, whatever the interval. Below the floor of its own run is a regression,
    unless the baseline's was below that floor as well.
    """
    metric = _metric(run, mine)
    if metric is None or metric not in mine.scores:
        return None
    value = mine.scores[metric]
    floor = _below_floor(run, mine, metric, run.accuracy_floor)
    if metric not in base.scores:
        if floor is None:
            return None
        return Aspect(name="accuracy", verdict="regressed", change=None, message=floor)
    low, change, high = _change(run, baseline, mine, base, metric)
    lost = change < 0 and -change > limit + 1e-9  # a drop of exactly the limit is allowed, in binary fractions too
    verdict: GateVerdict = ("regressed" if high < 0 else "unknown") if lost else "pass"
    count = f" on {baseline.dataset.count:,} examples" if baseline.dataset else ""
    bounded = math.isfinite(low) and math.isfinite(high)
    within = f", 95% interval {low * 100:+.1f} to {high * 100:+.1f}" if bounded else ""
    text = f"{metric} {value:.4g}, was {base.scores[metric]:.4g}: {change * 100:+.1f} points{count}{within}"
    if lost:
        text += f", allowed: {'-' if limit else ''}{limit * 100:.3g}"
        text += "" if verdict == "regressed" else ": too few examples to tell"
    # The other side of a run may be one build alone: then the run's reference is that of both.
    whole = baseline if baseline.case(baseline.reference) else run
    if floor and _below_floor(whole, base, metric, run.accuracy_floor) is None:
        verdict, text = "regressed", f"{text}; {floor}" if lost else floor
    return Aspect(
        name="accuracy",
        verdict=verdict,
        change=change,
        low=low if bounded else None,
        high=high if bounded else None,
        message=text,
    )


def _metric(run: Baseline, mine: CaseFigures) -> str | None:
    """The task's first metric; of a task whose metrics the data say, the first that it was judged by."""
    return next(iter(plugins.load("task", run.model.task).METRICS), next(iter(mine.scores), None))


def _other_metric(run: Baseline, mine: CaseFigures | None, base: CaseFigures | None) -> str | None:
    """That the two were not judged by the same metric, which another version may have brought; None if they were."""
    if mine is None or base is None or not base.scores:
        return None
    metric = _metric(run, mine)
    if metric in mine.scores and metric in base.scores:
        return None
    return f"its accuracy is {', '.join(mine.scores)} in the run, and {', '.join(base.scores)} in the baseline"


def _change(
    run: Baseline, baseline: Baseline, mine: CaseFigures, base: CaseFigures, metric: str
) -> tuple[float, float, float]:
    """The change of the score with its interval: example by example where both have them, else of two numbers."""
    import numpy as np

    labels, new, old = unpacked(baseline.labels), unpacked(mine.outcomes), unpacked(base.outcomes)
    if labels and len(new) == len(old) and len(new) and len(new) % len(labels) == 0:
        function = plugins.load("task", run.model.task).METRICS[metric]
        shape = (len(labels),) if len(new) == len(labels) else (len(labels), len(new) // len(labels))
        mine_now, theirs = (np.array(values).reshape(shape) for values in (new, old))
        return stats.paired_change(function, mine_now, theirs, np.array(labels), seed=baseline.seed)
    count = baseline.dataset.count if baseline.dataset else 0
    return stats.unpaired_change(mine.scores[metric], count, base.scores[metric], count)


def _below_floor(whole: Baseline, case: CaseFigures, metric: str, floor: float) -> str | None:
    """That the case is below its run's floor, in words; None if it is not, or if there is no telling."""
    reference = whole.case(whole.reference)
    best = reference.scores.get(metric, 0.0) if reference else 0.0
    value = case.scores[metric]
    if best <= 0 or case.case == whole.reference or value >= floor * best:
        return None
    return (
        f"{metric} {value:.4g} is below the floor: the reference scores {best:.4g}, of which {floor:.4g} is to be kept"
    )


# Memory and size


def _memory(new: Sequence[int], old: Sequence[int], limit: float) -> Aspect | None:
    """By medians over rounds. So that no odd process decides, it is a regression only if the run's lower quartile is
    beyond the limit above the baseline's upper one."""
    import numpy as np

    if not new or not old:
        return None
    clear = float(np.quantile(new, 0.25)) > (1 + limit) * float(np.quantile(old, 0.75))
    return _growth("memory", "peak memory", float(np.median(new)), float(np.median(old)), limit, clear=clear)


def _growth(
    name: Literal["memory", "size"], title: str, new: float | None, old: float | None, limit: float, clear: bool = True
) -> Aspect | None:
    if not new or not old:
        return None
    growth = new / old - 1
    verdict: GateVerdict = "regressed" if growth > limit and clear else "pass"
    sign = "+" if growth >= 0 else "-"
    text = f"{title} {_bytes(new)}, was {_bytes(old)}: {sign}{_percent(abs(growth))}"
    if verdict == "regressed":
        text += f", allowed: +{_percent(limit)}"
    return Aspect(name=name, verdict=verdict, change=growth, message=text)


def _bytes(count: float) -> str:
    return f"{count / 1e6:.4g} MB" if count >= 1e6 else f"{count:,.0f} bytes"
