"""Whether a run may be held against a baseline: what makes that wrong, what forbids a verdict, what is only told."""

from __future__ import annotations

import math
from collections.abc import Iterator

from optibench import stats
from optibench.baseline import Baseline, Hardware
from optibench.changes import changed, instruction_changes, package_changes
from optibench.errors import OptibenchError


def check_subject(run: Baseline, baseline: Baseline) -> None:
    """Error: the two are not about the same thing, and no option can change that."""
    wrong = list(_other_subject(run, baseline))
    if wrong:
        raise OptibenchError(
            f"The run cannot be held against this baseline: {'; '.join(wrong)}. "
            "Give the baseline that belongs to it, or save one: optibench baseline save RUN"
        )


def _other_subject(run: Baseline, baseline: Baseline) -> Iterator[str]:
    mine, theirs = run.model, baseline.model
    # A folder may be renamed, and a model trained on: the same weights or the same name will do.
    if mine.id != theirs.id and mine.weights_sha256 != theirs.weights_sha256:
        yield f"it is of another model ({theirs.id}, the run's is {mine.id})"
    elif mine.task != theirs.task:
        yield f"it is of another task ({theirs.task}, the run's is {mine.task})"
    if not set(run.shapes) & set(baseline.shapes):
        names = [", ".join(shape.name for shape in one.shapes) for one in (baseline, run)]
        yield f"its workload has other shapes ({names[0]}, the run's {names[1]})"
    if baseline.dataset and (run.dataset is None or run.dataset.sha256 != baseline.dataset.sha256):
        yield f"its accuracy is of other data ({_data(baseline)}, the run's {_data(run)})"
    if run.reference != baseline.reference:
        yield f"its ratios are to another reference ({baseline.reference}, the run's is {run.reference})"


def _data(one: Baseline) -> str:
    if one.dataset is None:
        return "none"
    return f"{one.dataset.id}, {one.dataset.count} examples, sha256 {one.dataset.sha256[:12]}"


def hardware_differences(run: Hardware, baseline: Hardware) -> list[str]:
    """How the machines differ in what decides about speed: ratios move too when the processor changes."""
    return [
        *changed("CPU", baseline.cpu_model, run.cpu_model),
        *changed("cores used", baseline.cores_used, run.cores_used),
        *changed("GPUs", ", ".join(baseline.gpus), ", ".join(run.gpus)),
        *instruction_changes(baseline.isa, run.isa),
    ]


def unfair(run: Baseline, baseline: Baseline) -> list[str]:
    """Differences that forbid a verdict unless the user says otherwise: the machine, and the yardstick itself."""
    runtime = package_changes(baseline.reference_runtime, run.reference_runtime)
    return [
        *hardware_differences(run.hardware, baseline.hardware),
        *(f"{text}, which runs the reference" for text in runtime),
    ]


def told(run: Baseline, baseline: Baseline) -> list[str]:
    """Differences that are just what a gate is to judge, or that bear on it little; each in a sentence."""
    found = _model_changed(run, baseline)
    rest = ({k: v for k, v in one.packages.items() if k not in run.reference_runtime} for one in (baseline, run))
    if versions := package_changes(*rest):
        found.append(f"Other package versions than the baseline's: {', '.join(versions)}.")
    if _digest(run.calibration) != _digest(baseline.calibration):
        found.append("Other data calibrated the quantized builds than the baseline's.")
    for name, said in (("seed", "seed"), ("tier", "tier"), ("accuracy_floor", "accuracy floor")):
        if getattr(run, name) != getattr(baseline, name):
            found.append(f"The {said} is {getattr(run, name)}, the baseline's {getattr(baseline, name)}.")
    if run.dataset and baseline.dataset is None:
        found.append("The baseline has no accuracy, so a drop cannot be seen: optibench baseline update RUN")
    mine, theirs = ({f.name: f.found for f in one.findings} for one in (run, baseline))
    for name in sorted(mine.keys() - theirs.keys()):
        found.append(f"The machine is worse than the baseline's in {name}: {mine[name]}.")
    found += _other_pace(run, baseline)
    if run.created and run.created == baseline.created:
        found.append("The baseline was saved from this very run.")
    return found


def _other_pace(run: Baseline, baseline: Baseline) -> list[str]:
    """A machine at another pace does not slow all builds alike (docs/method.md, slow blocks), so ratios may differ."""
    mine, theirs = (one.case(baseline.reference) for one in (run, baseline))
    for shape in run.shapes if mine and theirs else ():
        new, old = (one.at(shape) if one else None for one in (mine, theirs))
        seconds = [one.p50_seconds for one in (new, old) if one and one.p50_seconds]
        if len(seconds) == 2 and abs(math.log(seconds[0] / seconds[1])) > stats.PACE:
            now, then = (f"{one * 1e3:.3g} ms" for one in seconds)
            text = f"The reference took {now}, and {then} in the baseline: the machine has another pace"
            return [f"{text}, which slows some builds more than others. If a change surprises, save a new baseline."]
    return []


def told_of_sides(run: Baseline, other: Baseline) -> list[str]:
    """The same for both sides of one run: all else that bears on it is one for both."""
    found = _model_changed(run, other)
    # Builds are made on this side, so the other needs fewer packages.
    common = ({k: v for k, v in one.packages.items() if k in other.packages} for one in (other, run))
    if versions := package_changes(*common):
        found.append(f"Other package versions than the other side's: {', '.join(versions)}.")
    return found


def _model_changed(run: Baseline, baseline: Baseline) -> list[str]:
    if run.model.revision == baseline.model.revision:
        return []
    same = run.model.weights_sha256 == baseline.model.weights_sha256
    return [f"The model's revision differs: {'the weights are the same' if same else 'new weights'}."]


def _digest(data: object) -> object:
    return getattr(data, "sha256", None)
