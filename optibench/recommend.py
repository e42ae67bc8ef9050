"""Which case to ship: the fastest that keeps the accuracy, and a sentence that says so."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from optibench.results import CaseResult, Recommended, ScoreResult

TITLES = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "pytorch": "PyTorch",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}


def within_floor(scores: Sequence[ScoreResult], floor: float) -> bool | None:
    """Whether the first metric keeps at least ``floor`` of the reference's value (MLPerf Inference's bar). A share of
    nothing is nothing: where the reference itself scores 0 or less, there is no telling (None)."""
    if not scores or scores[0].reference <= 0:
        return None
    return scores[0].value >= floor * scores[0].reference


def with_floor(cases: Sequence[CaseResult], floor: float) -> list[CaseResult]:
    """The cases judged against another accuracy floor."""
    return [msgspec.structs.replace(case, within_floor=within_floor(case.scores, floor)) for case in cases]


def by_case(results: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    """The measured cases of what the run is about, each with its results at every shape."""
    found: dict[str, list[CaseResult]] = defaultdict(list)
    for result in results:
        if result.status == "ok" and not result.variant and result.latency_seconds and result.latency_seconds.p50:
            found[result.case].append(result)
    return found


def speed(results: Sequence[CaseResult]) -> float:
    """Speed-up of one case: the geometric mean over its shapes; of text that is generated, of whole generations."""
    speedups = [r.generation.speedup for r in results if r.generation and r.generation.speedup]
    speedups = speedups or [r.speedup.mid for r in results if r.speedup]
    return math.exp(sum(map(math.log, speedups)) / len(speedups)) if speedups else 0.0


def faster(results: Sequence[CaseResult]) -> bool:
    """Whether a case is faster than the reference at some shape, and slower at none. Of text that is generated decode
    decides, and a slower prefill is forgiven where the whole generation is faster still."""
    whole = [r.generation.speedup or 0.0 for r in results if r.generation]
    if whole:
        results = [r for r in results if r.phase == "decode"]
        if min(whole) < 1:
            return False
    return all(r.verdict in ("faster", "same") for r in results) and any(r.verdict == "faster" for r in results)


def recommended_case(results: Sequence[CaseResult], reference: str | None) -> str | None:
    """The fastest case that keeps the accuracy; the reference if none is faster; None if nothing can be said."""
    found = by_case(results)
    if reference not in found or all(r.within_floor is None for rs in found.values() for r in rs):
        return None
    sound = [c for c, rs in found.items() if c != reference and faster(rs) and all(r.within_floor for r in rs)]
    return max(sound, key=lambda case: speed(found[case]), default=reference)


def recommend(
    results: Sequence[CaseResult], reference: str | None, unit: str = "tokens", has_metric: bool = True
) -> tuple[Recommended | None, str | None]:
    """The recommended case in a sentence, or why there is none. ``unit`` is what a length counts; ``has_metric`` says
    whether data can judge such models."""
    found = by_case(results)
    if not found:
        return None, "Nothing was measured."
    if reference is None or reference not in found:
        return None, "The reference was not measured, so there is nothing to compare with."
    best = recommended_case(results, reference)
    if best is None:
        quick = [case for case, rs in found.items() if case != reference and faster(rs)]
        fastest = max(quick, key=lambda case: speed(found[case]), default=None)
        hint = f" By latency alone {fastest} is the fastest ({speed(found[fastest]):.2f}×)." if fastest else ""
        scored = next((r.scores[0] for r in found[reference] if r.scores), None)
        if scored:
            why = (
                f"The reference itself scores {scored.value:.3g} on these data, so they cannot tell what a build loses:"
                " give others with --dataset."
            )
        elif has_metric:
            why = "Accuracy was not measured, and no build is recommended without it: give labelled data by --dataset."
        else:
            why = "This task has no accuracy, and no build is recommended without one: compare outputs and times."
        return None, f"{why}{hint}"
    open_ = sum(any(r.verdict == "unknown" for r in rs) for case, rs in found.items() if case != reference)
    sentence = _sentence(found[best], found[reference][0], unit, open_)
    return Recommended(case=best, sentence=sentence), None


def _sentence(found: Sequence[CaseResult], reference: CaseResult, unit: str, undecided: int) -> str:
    best = next((result for result in found if result.generation), found[0])
    latency = f"{_time(_p50(best))} at batch {best.batch}" + (f" × {best.length} {unit}" if best.length else "")
    if best.generation:
        return _generation_sentence(best, found, reference, undecided)
    if best.verdict == "reference" or best.speedup is None:
        return f"{_keep(best, undecided)} ({latency})."
    kept = ""
    if best.scores and best.scores[0].reference:
        score = best.scores[0]
        kept = f", and keeps {score.value / score.reference:.1%} of its {score.metric}"
    mean = f"; {speed(found):.2f}× over all shapes" if len(found) > 1 else ""
    return (
        f"{_title(best)} answers in {latency}, {best.speedup.mid:.2f}× as fast as {_title(reference)} "
        f"({best.speedup.low:.2f} to {best.speedup.high:.2f}{mean}){kept}, on this machine."
    )


def _keep(reference: CaseResult, undecided: int) -> str:
    """That nothing is better than the reference: as far as is known, where the run did not decide."""
    if undecided:
        builds = f"{undecided} builds are" if undecided > 1 else "1 build is"
        return (
            f"Keep {_title(reference)}: so far no build is known to be both faster and accurate enough on this "
            f"machine, and {builds} undecided"
        )
    return f"Keep {_title(reference)}: no build is both faster and accurate enough on this machine"


def _generation_sentence(best: CaseResult, found: Sequence[CaseResult], reference: CaseResult, undecided: int) -> str:
    """Of a build that generates: how fast tokens come, and how much faster a whole generation is."""
    whole = best.generation
    assert whole is not None, "the caller looked"
    pace = (
        f"{whole.tokens_per_second:.3g} tokens a second at batch {best.batch} after a prompt of {best.length} (the "
        f"first after {_time(whole.first_token_seconds)}, then {_time(whole.token_seconds)} each)"
    )
    if best.verdict == "reference" or whole.speedup is None:
        return f"{_keep(best, undecided)} ({pace})."
    kept = ""
    if best.scores and best.scores[0].reference:
        score = best.scores[0]
        kept = f", and keeps {score.value / score.reference:.1%} of its {score.metric}"
    several = sum(result.generation is not None for result in found) > 1
    mean = f" ({speed(found):.2f}× over all shapes)" if several else ""
    return (
        f"{_title(best)} makes {pace}, {whole.speedup:.2f}× as fast as {_title(reference)}{mean}{kept}, "
        "on this machine."
    )


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _p50(result: CaseResult) -> float:
    assert result.latency_seconds is not None, "only measured cases are recommended"
    return result.latency_seconds.p50 or 0.0


def _title(result: CaseResult) -> str:
    return f"{TITLES.get(result.backend, result.backend)} {result.precision}"
