"""The report as a person reads it on a terminal."""

from __future__ import annotations

import re

import pytest

from optibench.recommend import recommend
from optibench.render import text
from optibench.results import CaseResult, Comparison, Latency, Noise
from tests import factories
from tests.factories import REFERENCE, case, comparison, interval, reference, score
from tests.render.hostile import OBEYED, hostile_comparison

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def cases() -> tuple[CaseResult, ...]:
    """As many different ones as a default run on a CPU has, with names as long as they get."""
    return (
        reference(),
        case("cpu/pytorch/bf16", verdict="same", speedup=interval(1.004, 0.02)),
        case(),
        case("gpu-intel/openvino/int8-weights", within_floor=False, scores=(score(0.301),)),
        case("cpu/openvino/int8", status="failed", reason="The worker died: out of memory."),
        case("cuda/pytorch/fp32", status="skipped", reason="No NVIDIA GPU was found."),
        case("cuda/onnxruntime/fp16", status="skipped", reason="No NVIDIA GPU was found."),
    )


def row(report: str, name: str) -> str:
    """The first line of the tables that is about this case."""
    return next(line for line in report.splitlines() if line.startswith(name))


def one_line(report: str) -> str:
    """The report without its line breaks, for sentences that wrap."""
    return " ".join(report.split())


def test_a_wide_report_shows_each_case_in_one_row() -> None:
    report = text.render(comparison(), 200)
    assert re.split(r"  +", row(report, "case")) == [
        "case",
        "p50",
        "p99",
        "speedup",
        "verdict",
        "spearman",
        "size",
        "peak memory",
        "executed",
    ]
    assert re.split(r"  +", row(report, "cpu/onnxruntime")) == [
        "cpu/onnxruntime/int8-dynamic",
        "12.3 ms",
        "–",
        "2.41× (2.38–2.44)",
        "faster",
        "0.725 -0.004 [-0.010, +0.002]",
        "23.1 MB",
        "212 MB",
        "CPUExecutionProvider int8, 2 threads",
    ]
    assert re.split(r"  +", row(report, REFERENCE))[3:6] == ["–", "reference", "0.729"]


def test_the_report_begins_with_model_and_machine_and_the_recommended_case() -> None:
    lines = text.render(comparison(), 120).splitlines()
    assert lines[:5] == [
        "minilm (53aa51172d14) · sentence-similarity",
        "Intel(R) Xeon(R) Platinum 8481C · 2 of 4 cores · 8.3 GB memory",
        "batch 1 · length 128 · 5 rounds",
        "",
        "Recommended: cpu/onnxruntime/int8-dynamic is 2.41× as fast as PyTorch fp32 and keeps the accuracy.",
    ]


def test_the_recommended_case_is_named_even_if_its_sentence_does_not() -> None:
    made = comparison()
    assert made.recommended is not None
    report = text.render(comparison(recommended=type(made.recommended)(case="cpu/x/int8", sentence="Twice as fast.")))
    assert "Recommended: cpu/x/int8. Twice as fast." in report


def test_where_nothing_is_recommended_the_report_says_why() -> None:
    report = text.render(comparison(recommended=None, recommended_reason="No case is faster than the reference."), 200)
    assert "No case is recommended: No case is faster than the reference." in report


def test_a_failed_aa_check_is_said_at_the_very_top() -> None:
    bad = Noise(aa_ratio=interval(1.08, 0.03), floor=0.03, settled=True, disturbed_share=0.3)
    report = text.render(comparison(noise=bad), 80)
    assert report.startswith("DO NOT TRUST THESE NUMBERS: the A/A check failed.")
    assert "1.080× (1.050–1.110)" in one_line(report)
    assert "DO NOT TRUST" not in text.render(comparison(), 80)


def test_a_run_without_a_twin_says_that_its_noise_is_unknown() -> None:
    unknown = Noise(aa_ratio=None, floor=None, settled=False, disturbed_share=0)
    assert "Noise floor unknown" in text.render(comparison(noise=unknown), 80)


def test_noise_floor_and_disturbed_share_stand_below_the_table() -> None:
    report = one_line(text.render(comparison(), 80))
    assert "Noise floor ±1.1%" in report
    assert "4.0% of bursts were disturbed" in report


def test_a_warm_up_that_did_not_settle_is_said() -> None:
    unsettled = Noise(aa_ratio=interval(1, 0.01), floor=0.01, settled=False, disturbed_share=0)
    assert "before their warm-up had settled" in text.render(comparison(noise=unsettled))
    assert "warm-up" not in text.render(comparison())


def test_a_quick_run_is_marked_as_not_for_ranking() -> None:
    assert "quick: not for ranking" in text.render(comparison(workload={"tier": "quick"}), 80)
    assert "quick" not in text.render(comparison(), 80)


def test_accuracy_that_was_not_measured_says_what_to_type() -> None:
    unscored = (reference(scores=(), within_floor=None), case(scores=(), within_floor=None))
    report = text.render(comparison(cases=unscored, workload={"dataset": None, "calibration": None}), 200)
    assert "Accuracy was not measured" in report
    assert "optibench compare minilm --dataset FILE_OR_HUB_ID --columns" in report
    assert "cosine" in row(report, "case")
    assert "0.9921" in row(report, "cpu/onnxruntime")
    assert "Calibrated" not in report


def test_data_that_lack_what_could_judge_are_told_so() -> None:
    unscored = (reference(scores=(), within_floor=None), case(scores=(), within_floor=None))
    report = one_line(text.render(comparison(cases=unscored, model=factories.model(task="object-detection")), 200))
    assert "The data lack what could judge it (objects): say which column holds it with --columns objects=" in report


def test_a_task_without_a_metric_asks_for_no_labels() -> None:
    unscored = (reference(scores=(), within_floor=None), case(scores=(), within_floor=None))
    seeing = factories.model(task="image-feature-extraction")
    report = one_line(text.render(comparison(cases=unscored, model=seeing), 200))
    assert "image-feature-extraction has no accuracy to measure: outputs are compared with the reference's." in report
    assert "Accuracy was not measured" not in report
    _, why = recommend(unscored, unscored[0].case, has_metric=False)
    assert why is not None
    assert "--dataset" not in why


@pytest.mark.parametrize("value", [0.0, -0.064])
def test_a_reference_that_scores_nothing_is_told_its_score(value: float) -> None:
    nothing = (reference(scores=(score(value, value),), within_floor=None), case(within_floor=None))
    _, why = recommend(nothing, nothing[0].case)
    assert why is not None
    assert f"The reference itself scores {value:.3g} on these data" in why


def test_what_judged_and_what_calibrated_is_named() -> None:
    report = text.render(comparison(), 200)
    assert "Accuracy is spearman on wordsim353.tsv, 265 examples (sha256 abababababab)." in report
    assert "Calibrated with wordsim353.tsv, 88 examples (sha256 efefefefefef)." in report


def test_data_that_make_fewer_scores_than_they_have_rows_say_so() -> None:
    report = text.render(comparison(workload={"dataset": factories.data(count=300)}), 200)
    assert (
        "Accuracy is spearman on wordsim353.tsv, 300 examples (sha256 abababababab), which make 265 to score." in report
    )


def test_a_target_that_is_skipped_whole_is_one_line() -> None:
    report = text.render(comparison(cases=cases()), 80)
    assert report.count("NVIDIA") == 1
    assert "  cuda (2 cases): No NVIDIA GPU was found." in report


def test_cases_of_a_target_that_is_skipped_in_part_are_named() -> None:
    some = (*cases(), case("cuda/openvino/fp32", status="skipped", reason="Not for this device."))
    report = one_line(text.render(comparison(cases=some), 80))
    assert "cuda/pytorch/fp32, cuda/onnxruntime/fp16: No NVIDIA" in report
    assert "cuda/openvino/fp32: Not for this device." in report


def test_failed_and_below_floor_cases_are_shown_and_marked() -> None:
    report = text.render(comparison(cases=cases()), 200)
    assert "failed" in row(report, "cpu/openvino/int8")
    assert "below floor" in row(report, "gpu-intel/openvino/int8-weights")
    assert "0.301" in row(report, "gpu-intel/openvino/int8-weights")
    assert "Below floor: under 99% of the reference's score" in report
    assert "  cpu/openvino/int8: The worker died: out of memory." in report


def test_a_run_in_which_nothing_ran_has_no_table_but_every_reason() -> None:
    nothing = (case(status="failed", reason="Broken."), case("cuda/pytorch/fp32", status="skipped", reason="No GPU."))
    report = text.render(comparison(cases=nothing, recommended=None, recommended_reason="Nothing ran."), 80)
    assert "p50" not in report
    assert "cpu/onnxruntime/int8-dynamic: Broken." in report
    assert "cuda/pytorch/fp32: No GPU." in report


def test_a_note_that_several_cases_share_is_said_once() -> None:
    slow = "slower than fp32: no VNNI on this CPU"
    both = (reference(), case(notes=(slow,)), case("cpu/onnxruntime/int8", notes=(slow,)))
    report = text.render(comparison(cases=both), 200)
    assert f"  cpu/onnxruntime/int8-dynamic, cpu/onnxruntime/int8: {slow}" in report


def test_several_shapes_get_a_column_of_their_own() -> None:
    shapes = (reference(), reference(batch=8), case(), case(batch=8, status="failed", reason="Out of memory."))
    report = text.render(comparison(cases=shapes), 200)
    assert "shape" in row(report, "case")
    main, _, by_shape = report.partition("Latency by batch and length")
    assert [line.split()[1] for line in main.splitlines() if line.startswith(REFERENCE)] == ["1×128", "8×128"]
    assert [line.split()[1] for line in by_shape.splitlines() if line.startswith(REFERENCE)] == ["29.7"]
    assert "cpu/onnxruntime/int8-dynamic at 8×128: Out of memory." in report
    assert "shape" not in row(text.render(comparison(), 200), "case")


def test_p99_is_shown_where_there_are_enough_samples() -> None:
    enough = case(latency_seconds=Latency(p50=0.000935, p90=0.00099, p99=0.0009997))
    report = text.render(comparison(cases=(reference(), enough)), 200)
    assert row(report, "cpu/onnxruntime").split()[1:5] == ["935", "µs", "1.00", "ms"]
    assert "fewer than 662" in report
    assert "662" not in text.render(comparison(cases=(enough,)), 200)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    made = comparison(cases=cases(), warnings=("The load by others was 0.7 cores; " * 5,))
    report = text.render(made, width)
    assert max(map(len, report.splitlines())) <= width
    assert "…" not in report
    words = text.render(made).split()
    assert all(word in report for word in words if set(word) != {"─"})
    assert "\n\n\n" not in report


def test_a_name_wider_than_the_terminal_is_still_whole() -> None:
    name = f"cpu/{'x' * 90}/fp32"
    report = text.render(comparison(cases=(reference(), case(name))), 80)
    assert name in report
    assert "CPUExecutionProvider int8, 2 threads" in report


def test_without_a_terminal_no_line_is_broken() -> None:
    warning = "word " * 100 + "end"
    report = text.render(comparison(cases=cases(), warnings=(warning,)))
    assert warning in report
    assert len([line for line in report.splitlines() if line.startswith(REFERENCE)]) == 1


def test_colour_changes_no_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")  # the caller decides, not the environment
    monkeypatch.setenv("TERM", "dumb")
    made = comparison(cases=cases())
    plain, colored = text.render(made, 80), text.render(made, 80, color=True)
    assert ANSI.search(colored)
    assert "\x1b" not in plain
    assert [line.rstrip() for line in ANSI.sub("", colored).splitlines()] == plain.splitlines()


@pytest.mark.parametrize("width", [80, None])
def test_hostile_text_is_shown_and_never_obeyed(width: int | None) -> None:
    report = text.render(hostile_comparison(), width)
    assert not set(OBEYED) & set(report)
    assert "\\x1b[31mred" in report
    assert "[bold]b[/bold]" in report
    assert "[bold]b[/bold]" in row(report[report.index("executed") :], "cpu/onnxruntime")
    assert "\\u202egnp.exe" in report
    assert not any(line.startswith("# next") for line in report.splitlines())


def test_rendering_does_not_change_the_comparison() -> None:
    made: Comparison = hostile_comparison()
    text.render(made)
    assert made == hostile_comparison()
