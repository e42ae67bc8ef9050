"""The gate's verdicts on values: what is a regression, what is not, and what nobody can tell."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import judge
from optibench.baseline import Baseline, CaseFigures, packed
from optibench.errors import OptibenchError
from optibench.gating import concluded
from optibench.judge import Paired
from optibench.pairs import Pair
from optibench.values import Shape
from optibench.verdicts import GateCase, GateResult, GateVerdict, Limits
from tests.factories import LOGS, REFERENCE, baseline, data, figures, model

INT8 = "cpu/onnxruntime/int8"
SHAPE = Shape(batch=1, length=128)


def shifted(percent: float) -> tuple[float, ...]:
    return tuple(value + math.log1p(percent / 100) for value in LOGS)


def judged(new: CaseFigures, old: CaseFigures | None = None, limits: Limits | None = None) -> GateCase:
    """The verdict on one case that was once ``old``."""
    found = judge.judge(baseline(new), baseline(old or figures()), limits or Limits(), pattern="*int8*")
    return found[0]


def both_in_turns(*values: float, **told: Any) -> Paired:
    """A build that both sides of a run measured in turns."""
    return {(INT8, SHAPE): Pair(case=INT8, against=f"against:{INT8}", shape=SHAPE, values=values, **told)}


def gate(run: Baseline, old: Baseline, on_unknown: Any = "rerun", **asked: Any) -> GateResult:
    cases = judge.judge(run, old, Limits(), **asked)
    return concluded(cases, run, old, limits=Limits(), on_unknown=on_unknown, names=("run", "old"))


def test_an_accuracy_of_another_metric_is_not_measured() -> None:
    """Else nothing of the accuracy would be judged, and the gate would pass."""
    old = figures()
    assert old.scores
    for one, other in (({"token_f1": 0.4}, old.scores), (old.scores, {"token_f1": 0.4})):
        found = judged(*(msgspec.structs.replace(old, scores=scores) for scores in (one, other)))
        assert found.verdict == "not measured"
        assert f"is {', '.join(one)} in the run, and {', '.join(other)} in the baseline" in found.message


def test_a_whole_number_as_a_limit_is_refused_since_five_would_allow_500_percent() -> None:
    for wrong in (5, 1):
        with pytest.raises(OptibenchError, match=r"In Python 5% is 0\.05"):
            Limits(max_slowdown=wrong).checked()
    assert Limits(max_slowdown=0, max_size_growth=2.0).checked()


# Latency


@pytest.mark.parametrize(
    ("percent", "verdict"), [(0, "pass"), (-10, "improved"), (10, "regressed"), (5, "unknown"), (1, "pass")]
)
def test_latency_is_judged_by_where_the_whole_interval_lies(percent: float, verdict: GateVerdict) -> None:
    found = judged(figures(logs=shifted(percent)))
    assert found.verdict == verdict
    aspect = found.aspect("latency")
    assert aspect is not None
    assert aspect.change == pytest.approx(percent / 100, abs=1e-6)


def test_the_limit_decides_how_much_slower_is_a_regression() -> None:
    assert judged(figures(logs=shifted(10)), limits=Limits(max_slowdown=0.15)).verdict == "pass"
    assert "10% slower (" in judged(figures(logs=shifted(10))).message
    assert "allowed: 5%" in judged(figures(logs=shifted(10))).message


def test_noisy_rounds_are_unknown_and_more_of_them_decide() -> None:
    few = (-0.76, -0.64, -0.70)
    assert judged(figures(logs=few)).verdict == "unknown"
    assert judge.undecided([judged(figures(logs=few))], baseline()) == [INT8]
    assert judged(figures(logs=few * 20), figures(logs=few * 20)).verdict == "pass"


def test_a_baseline_of_one_round_decides_nothing_and_no_further_round_is_measured_for_it() -> None:
    one = baseline(figures(logs=(-0.7,)))
    found = judge.judge(baseline(), one, Limits(), pattern=INT8)[0]
    assert found.verdict == "unknown"
    assert "the baseline has one round" in found.message
    assert judge.undecided([found], one) == []


def test_one_round_alone_decides_nothing() -> None:
    found = judged(figures(logs=(-0.2,)))
    assert found.verdict == "unknown"
    assert "one round" in found.message


@pytest.mark.parametrize(("new", "old", "whose"), [((), LOGS, "the run"), (LOGS, (), "the baseline")])
def test_a_side_whose_rounds_were_all_disturbed_is_unknown_and_named(
    new: tuple[float, ...], old: tuple[float, ...], whose: str
) -> None:
    found = judged(figures(logs=new), figures(logs=old))
    assert found.verdict == "unknown"
    assert f"no round of {whose} counts" in found.message


def test_rounds_in_which_both_sides_took_turns_are_judged_directly() -> None:
    paired = both_in_turns(0.10, 0.11, 0.09)
    found = judge.judge(baseline(), baseline(), Limits(), paired=paired, pattern=INT8)
    assert found[0].verdict == "regressed"
    assert judge.judge(baseline(), baseline(), Limits(), paired=both_in_turns())[0].verdict == "unknown"


def test_a_build_that_one_side_could_not_run_is_not_measured_and_one_that_neither_could_is_not_judged() -> None:
    broken = both_in_turns(status="failed", reason="against: it crashed")
    (found,) = judge.judge(baseline(), baseline(figures(status="failed", shapes=())), Limits(), paired=broken)
    assert (found.verdict, found.message) == ("not measured", "against: it crashed")
    assert not judge.judge(baseline(), baseline(), Limits(), paired=both_in_turns(status="failed", neither=True))


def test_the_reference_is_the_yardstick_and_not_judged_by_latency() -> None:
    reference = judge.judge(baseline(), baseline(), Limits())[0]
    assert (reference.case, reference.verdict, reference.aspect("latency")) == (REFERENCE, "pass", None)


# Accuracy


def test_four_points_lost_on_a_thousand_examples_are_a_regression_that_says_so() -> None:
    found = judged(figures(right=860))
    assert found.verdict == "regressed"
    assert "accuracy 0.86, was 0.9: -4.0 points on 1,000 examples" in found.message
    assert "allowed: -1" in found.message


def test_a_drop_within_the_limit_is_allowed() -> None:
    assert judged(figures(right=891)).verdict == "pass"
    assert judged(figures(right=890)).verdict == "pass"  # exactly the limit
    assert judged(figures(right=889)).verdict == "regressed"


def test_a_drop_that_chance_could_make_is_unknown() -> None:
    """20 of 1,000 points lost, while 400 examples changed sides either way."""
    rng = np.random.default_rng(1)
    old, new = rng.random(1000) < 0.55, rng.random(1000) < 0.53
    before, after = (
        figures(scores={"accuracy": float(one.mean())}, outcomes=packed(one.astype(float))) for one in (old, new)
    )
    found = judge.judge(
        baseline(after, accuracy_floor=0.1), baseline(before), Limits(max_accuracy_drop=0.001), pattern=INT8
    )[0]
    assert found.aspect("accuracy").change < -0.001  # type: ignore[union-attr]
    assert found.verdict == "unknown"
    assert "too few examples to tell" in found.message
    assert judge.undecided([found], baseline(before)) == []  # more rounds would not help


def test_without_outcomes_the_interval_is_made_of_both_scores() -> None:
    old = figures(outcomes="")
    assert judged(figures(right=860, outcomes=""), old).verdict == "regressed"
    assert judged(figures(right=880, outcomes=""), old).verdict == "unknown"


def test_faster_but_below_the_floor_is_a_regression_and_the_message_says_which_of_the_two() -> None:
    limits = Limits(max_accuracy_drop=0.5)
    found = judged(figures(logs=shifted(-20), right=700), limits=limits)
    assert found.verdict == "regressed"
    assert "20% faster" in found.message
    assert "but accuracy 0.7 is below the floor" in found.message
    slow = judged(figures(logs=shifted(20)))
    assert "floor" not in slow.message


def test_what_was_below_the_floor_before_is_no_new_regression() -> None:
    assert judged(figures(right=700), figures(right=700)).verdict == "pass"


# Memory and size


def test_memory_and_size_may_grow_within_their_limits() -> None:
    assert judged(figures(peak_bytes=(109_000_000,) * 3, artifact_bytes=24_000_000)).verdict == "pass"
    big = judged(figures(peak_bytes=(120_000_000,) * 3))
    assert big.verdict == "regressed"
    assert "peak memory 120 MB, was 100 MB: +20%" in big.message
    assert "artifact 30 MB, was 23 MB" in judged(figures(artifact_bytes=30_000_000)).message


def test_memorys_own_noise_around_the_limit_does_not_decide() -> None:
    assert judged(figures(peak_bytes=(109_000_000, 110_500_000, 112_000_000))).verdict == "pass"


# What is not measured


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ((figures("cpu/openvino/int8"),), "the run has no such case"),
        ((figures(status="failed", reason="out of memory"),), "failed in the run: out of memory"),
        ((figures(status="skipped", reason="no driver"),), "skipped in the run: no driver"),
        ((figures(shape=Shape(batch=8, length=128)),), "did not measure this shape"),
        ((figures(scores={}, outcomes=""),), "did not judge its accuracy"),
    ],
)
def test_what_the_baseline_has_and_the_run_lacks_fails_the_gate_with_its_reason(
    cases: tuple[CaseFigures, ...], says: str
) -> None:
    result = gate(baseline(*cases), baseline())
    (found,) = result.with_verdict("not measured")
    assert says in found.message
    assert result.exit_code == 2
    assert "not measured" in result.sentence


def test_a_case_that_the_baseline_lacks_is_told_and_not_judged() -> None:
    result = gate(baseline(figures(), figures("cpu/openvino/int8")), baseline())
    assert result.new_cases == ("cpu/openvino/int8",)
    assert result.exit_code == 0


def test_a_gate_that_compared_nothing_fails() -> None:
    bare = {"scores": {}, "outcomes": ""}
    old = baseline(cases=(figures(REFERENCE, (), **bare),), dataset=None)
    result = gate(baseline(), old)
    assert (result.exit_code, result.sentence) == (2, "Failed: nothing was compared.")


def test_a_pattern_that_meets_no_case_is_an_error_that_names_them() -> None:
    with pytest.raises(OptibenchError, match=rf"named like 'gpu/\*'. It has: {REFERENCE}, {INT8}"):
        judge.judge(baseline(), baseline(), Limits(), pattern="gpu/*")


# How it ends


@pytest.mark.parametrize(("on_unknown", "code"), [("rerun", 2), ("fail", 2), ("pass", 0)])
def test_undecided_cases_pass_only_where_that_was_asked_for(on_unknown: str, code: int) -> None:
    assert gate(baseline(figures(logs=shifted(5))), baseline(), on_unknown).exit_code == code


def test_a_regression_outweighs_what_is_missing_or_undecided() -> None:
    run = baseline(figures(logs=shifted(20)))
    old = baseline(figures(), figures("cpu/openvino/int8"))
    assert gate(run, old).exit_code == 1


@pytest.mark.parametrize(
    ("second", "verdict", "code"), [(20, "regressed", 1), (0, "pass", 0), (-10, "improved", 0), (5, "unknown", 2)]
)
def test_a_second_measurement_confirms_a_regression_or_decides_instead(
    second: float, verdict: GateVerdict, code: int
) -> None:
    first, again = (
        judge.judge(baseline(figures(logs=shifted(p))), baseline(), Limits(), pattern=INT8) for p in (20, second)
    )
    found = judge.confirmed(first, again)
    assert found[0].verdict == verdict
    assert "second measurement" in found[0].message
    ended = concluded(found, baseline(), baseline(), limits=Limits(), on_unknown="rerun", names=("", ""))
    assert ended.exit_code == code


def test_another_regression_in_the_second_measurement_does_not_confirm_the_first() -> None:
    first = judge.judge(baseline(figures(logs=shifted(20))), baseline(), Limits(), pattern=INT8)
    again = judge.judge(baseline(figures(peak_bytes=(200_000_000,) * 3)), baseline(), Limits(), pattern=INT8)
    assert judge.confirmed(first, again)[0].verdict == "unknown"


def test_a_regression_that_could_not_be_measured_again_is_no_telling() -> None:
    first = judge.judge(baseline(figures(logs=shifted(20))), baseline(), Limits(), pattern=INT8)
    found = judge.confirmed(first, ())
    ended = concluded(found, baseline(), baseline(), limits=Limits(), on_unknown="pass", names=("", ""))
    assert ended.exit_code == 2
    assert "could not be confirmed" in ended.sentence


# What may be compared


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": model(id="other", weights_sha256="cd" * 32, task="text-classification")}, "another model"),
        ({"model": model(task="fill-mask")}, "another task"),
        ({"shapes": (Shape(batch=4, length=7),)}, "other shapes"),
        ({"dataset": data(sha256="cd" * 32)}, "other data"),
        ({"dataset": None}, "other data"),
        ({"reference": "cpu/onnxruntime/fp32"}, "another reference"),
    ],
)
def test_a_baseline_of_something_else_is_refused_and_said(changes: dict[str, Any], says: str) -> None:
    run = msgspec.structs.replace(baseline(), **changes)
    with pytest.raises(OptibenchError, match=says):
        judge.judge(run, baseline(), Limits(), allow_different_hardware=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cpu_model": "AMD EPYC"}, "CPU Intel Xeon -> AMD EPYC"),
        ({"isa": ("avx2",)}, "instruction sets gone: avx512f"),
        ({"isa": ("avx2", "avx512f", "amx_tile")}, "new instruction sets: amx_tile"),
        ({"cores_used": 8}, "cores used 2 -> 8"),
        ({"gpus": ("H100",)}, "GPUs none -> H100"),
    ],
)
def test_other_hardware_allows_no_verdict_unless_the_user_does(changes: dict[str, Any], says: str) -> None:
    run = msgspec.structs.replace(baseline(), hardware=msgspec.structs.replace(baseline().hardware, **changes))
    with pytest.raises(OptibenchError, match=f"{says}.*--allow-different-hardware"):
        judge.judge(run, baseline(), Limits())
    assert judge.judge(run, baseline(), Limits(), allow_different_hardware=True)


def test_another_version_of_what_runs_the_reference_is_another_yardstick() -> None:
    run = msgspec.structs.replace(baseline(), reference_runtime={"torch": "2.14.0"})
    with pytest.raises(OptibenchError, match=r"torch 2\.13\.0 -> 2\.14\.0, which runs the reference"):
        judge.judge(run, baseline(), Limits())


def test_another_version_of_a_judged_runtime_is_just_what_a_gate_is_for() -> None:
    from optibench.comparable import told

    run = msgspec.structs.replace(baseline(), packages={"torch": "2.13.0", "onnxruntime": "1.33.0"})
    assert judge.judge(run, baseline(), Limits())
    assert "onnxruntime 1.32.0 -> 1.33.0" in " ".join(told(run, baseline()))


@pytest.mark.parametrize("limits", [{"max_slowdown": -0.01}, {"max_accuracy_drop": 1.5}, {"max_size_growth": math.nan}])
def test_a_limit_that_cannot_be_meant_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(OptibenchError, match="--max-"):
        Limits(**limits).checked()
