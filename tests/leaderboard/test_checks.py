"""Submissions edited by hand, each in one place: what was done is found and said, and a sound one passes."""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from optibench import boards, bundle, roofline, store
from optibench.data import reference
from optibench.errors import OptibenchError
from optibench.leaderboard import checks
from optibench.leaderboard.judged import Judged
from optibench.results import Latency, Limits
from optibench.values import Executed
from tests import factories
from tests.leaderboard.made import (
    BF16,
    INT8,
    REFERENCE,
    TWIN,
    Lines,
    bursts_of,
    edited,
    of,
    raw,
    records_of,
    rewritten,
    write_run,
    write_submission,
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound submission, packed once."""
    return write_submission(tmp_path_factory.mktemp("submissions") / "sound")


@pytest.fixture
def sound(made: Path, tmp_path: Path) -> Path:
    path = tmp_path / made.name
    path.write_bytes(made.read_bytes())
    return path


def judged(path: Path) -> Judged:
    (found,) = boards.validate([path])
    return found


def refused(path: Path) -> str:
    """What is said of a file that must not pass."""
    found = judged(path)
    assert not found.fine
    return " | ".join(found.problems)


def test_a_sound_submission_passes_every_check(sound: Path) -> None:
    found = judged(sound)
    assert found.problems == ()
    assert found.entry is not None
    assert found.entry.unchecked == ()
    assert found.entry.comparison.workload.tier == "official"


def scaled(case: Any, factor: float) -> Callable[[Lines], None]:
    """Every call of a case in every round takes ``factor`` as long."""

    def change(lines: Lines) -> None:
        for line in lines:
            if line["case"] == {**of(lines, case)["case"]}:
                for burst in bursts_of(line):
                    burst["wall_ns"] = [int(ns * factor) for ns in burst["wall_ns"]]
                    burst["cpu_ns"] = int(burst["cpu_ns"] * factor)

    return change


def test_one_changed_sample_is_told_by_its_lines_digest(sound: Path) -> None:
    files = dict(bundle.read(sound)[1])
    lines = files[store.RECORDS].splitlines(keepends=True)
    line = json.loads(lines[3])
    bursts_of(line)[0]["wall_ns"][0] -= 1000
    lines[3] = json.dumps(line).encode() + b"\n"
    files[store.RECORDS] = b"".join(lines)
    assert "Line 4 of" in (said := refused(rewritten(sound, files)))
    assert "sha256 is not that of its content" in said


def test_samples_changed_with_their_digests_no_longer_give_the_figures_that_are_claimed(sound: Path) -> None:
    said = refused(edited(sound, scaled(INT8, 0.9), honest=False))
    assert "cases cpu/onnxruntime/int8 at 1x128" in said
    assert "and the records give" in said
    assert "more figures do not follow" in said


def test_a_claimed_figure_that_the_samples_do_not_give_is_named_with_both(sound: Path) -> None:
    files = dict(bundle.read(sound)[1])
    claimed = json.loads(files[store.COMPARISON])
    claimed["cases"][1]["speedup"]["mid"] = 9.0
    files[store.COMPARISON] = json.dumps(claimed).encode()
    said = refused(rewritten(sound, files))
    assert "cases cpu/onnxruntime/int8 at 1x128 speedup mid is 9, and the records give 2.4" in said


def test_a_tier_that_the_records_do_not_reach_is_not_believed(tmp_path: Path) -> None:
    path = write_submission(tmp_path / "quick", blocks=20)
    files = dict(bundle.read(path)[1])
    claimed = json.loads(files[store.COMPARISON])
    assert claimed["workload"]["tier"] == "quick"
    claimed["workload"]["tier"] = "official"
    files[store.COMPARISON] = json.dumps(claimed).encode()
    assert "workload tier is official, and the records give quick" in refused(rewritten(path, files))


def test_a_warning_cannot_be_left_out(sound: Path, tmp_path: Path) -> None:
    def spin(lines: Lines) -> None:
        for line in lines:
            if line["case"]["backend"] == "openvino":
                for burst in bursts_of(line):
                    burst |= {"idle_cpu_ns": 50_000_000, "idle_wall_ns": 100_000_000}

    assert judged(edited(sound, spin)).fine
    files = dict(bundle.read(sound)[1])
    claimed = json.loads(files[store.COMPARISON])
    assert any("burnt" in text for text in claimed["warnings"])
    files[store.COMPARISON] = json.dumps({**claimed, "warnings": []}).encode()
    assert "leaves out a warning" in refused(rewritten(sound, files))


def test_calibration_data_that_are_evaluated_too_are_found(sound: Path) -> None:
    def overlap(lines: Lines) -> None:
        for line in lines:
            line["calibration"] = {**line["dataset"], "id": "calibration.csv"}

    said = refused(edited(sound, overlap))
    assert "the calibration data (calibration.csv) are evaluated too (wordsim353.tsv)" in said


def test_a_single_row_that_calibrates_and_judges_is_found(sound: Path) -> None:
    rows = [{"text": f"review {number}", "label": number % 2} for number in range(100)]
    evaluated = reference("reviews.csv", rows[:60])

    def draw(calibration: list[dict[str, Any]]) -> Callable[[Lines], None]:
        def change(lines: Lines) -> None:
            for line in lines:
                line["dataset"] = msgspec.to_builtins(evaluated)
                line["calibration"] = msgspec.to_builtins(reference("other.csv", calibration))

        return change

    assert judged(edited(sound, draw(rows[60:]))).fine
    said = refused(edited(sound, draw([{"text": "review 7"}, *rows[60:]])))
    assert "1 or more of the 41 rows of the calibration data (other.csv) are evaluated too" in said


def test_a_case_faster_than_the_measured_peak_allows_is_found(sound: Path) -> None:
    said = refused(edited(sound, scaled(INT8, 1 / 8)))
    assert "cpu/onnxruntime/int8 at 1x128 would compute 1.8e+03 Gop/s" in said.replace("1.79e+03", "1.8e+03")
    assert "the machine's measured peak allows 1.2e+03" in said


def test_times_made_shorter_than_their_cpu_time_allows_are_found(sound: Path) -> None:
    def change(lines: Lines) -> None:
        for line in lines:
            line["host"]["cores"] = 2
            if line["case"] == of(lines, INT8)["case"]:
                for burst in bursts_of(line):
                    burst["wall_ns"] = [ns // 2 for ns in burst["wall_ns"]]

    assert "cpu/onnxruntime/int8 at 1x128 would keep 4.0 processors busy, and the machine has 2" in refused(
        edited(sound, change)
    )


@pytest.mark.parametrize(
    ("created", "first", "said"),
    [
        ("2999-01-01T00:00:00+00:00", "2026-11-20T10:00:00+00:00", "yet to come"),
        ("2026-11-20T10:00:00+00:00", "2999-01-01T00:00:00+00:00", "yet to come"),
        ("1999-01-01T00:00:00+00:00", "2026-11-20T10:00:00+00:00", "begun at 1999-01-01"),
        ("2026-11-20T10:00:00+00:00", "1999-01-01T00:00:00+00:00", "its first record is of 1999-01-01"),
        ("0001-01-01T00:00:00+14:00", "2026-11-20T10:00:00+00:00", "expected a time with its zone"),
        ("2026-11-20T10:00:00+00:00", "yesterday", "'yesterday' for when it was made"),
    ],
)
def test_a_run_that_was_begun_or_measured_at_another_time_is_found(
    sound: Path, created: str, first: str, said: str
) -> None:
    path = edited(sound, lambda lines: [line.update(created=first) for line in lines])
    files = dict(bundle.read(path)[1])
    files[store.COMPARISON] = json.dumps({**json.loads(files[store.COMPARISON]), "created": created}).encode()
    assert said in refused(rewritten(path, files))


def test_a_call_of_years_and_a_machine_without_processors_are_found(sound: Path, tmp_path: Path) -> None:
    def years(lines: Lines) -> None:
        bursts_of(of(lines, INT8))[0]["wall_ns"][0] = 2**63 - 1

    def none(lines: Lines) -> None:
        for line in lines:
            line["host"]["cores"] = -5

    assert "has a call of more than a day" in refused(edited(sound, years, out=tmp_path / "a.optibench.zip"))
    assert "ran on -5 processors" in refused(edited(sound, none, out=tmp_path / "b.optibench.zip"))


@pytest.mark.parametrize(("milliseconds", "fine"), [(9.4, True), (2.4, False)])
def test_a_precision_whose_own_product_is_slow_is_bounded_by_the_others(milliseconds: float, fine: bool) -> None:
    """Seen on a real machine: products of 202 Gop/s in fp32 and 827 in bf16, and a build of 304 in fp32."""
    result = factories.case(
        "cpu/openvino/fp32",
        latency_seconds=Latency(p50=milliseconds / 1e3, p90=None, p99=None),
        executed=Executed(provider="OpenVINO CPU", precision="fp32", threads=2),
        multiply_adds=1_430_000_000,
    )
    rates = {"fp32": 202e9, "bf16": 827e9}
    limits = {"cpu": Limits(operations_per_second=rates, memory_bytes_per_second=None, how={})}
    rate, most = roofline.reached(result), checks.allowed(result, limits)
    assert rate is not None
    assert most is not None
    assert (rate <= most) is fine


def test_a_peak_that_was_measured_beside_a_neighbour_is_taken_by_its_cpu_time(sound: Path) -> None:
    """The product took five times as long because others had the cores; the cases were measured in peace."""

    def beside_a_neighbour(lines: Lines) -> None:
        for line in lines:
            for gauged in line["gauged"]:
                gauged["burst"]["wall_ns"] = [5 * ns for ns in gauged["burst"]["wall_ns"]]

    assert judged(edited(sound, beside_a_neighbour)).fine


def test_without_a_measured_peak_it_is_said_that_it_was_not_checked(tmp_path: Path) -> None:
    records = [record for record in records_of() if record.case.precision != "int8" or not record.case.is_limit]
    found = judged(write_run(tmp_path / "run", records))
    assert found.fine  # the peaks in wider precisions still bound it
    bare = [record for record in records_of() if not record.case.is_limit]
    found = judged(write_run(tmp_path / "bare", bare))
    assert found.entry is not None
    assert any("no peak of cpu was measured" in note for note in found.entry.unchecked)


def test_samples_copied_from_another_case_are_found(sound: Path) -> None:
    def copy(lines: Lines) -> None:
        for number in range(1, 6):
            of(lines, BF16, number)["measurement"]["series"] = of(lines, INT8, number)["measurement"]["series"]

    said = refused(edited(sound, copy))
    assert re.search(
        r"cpu/onnxruntime/int8 at 1x128 in round (\d) and cpu/openvino/bf16 at 1x128 in round \1 share samples", said
    )


def test_a_stretch_copied_from_another_round_is_found_wherever_it_is_put(sound: Path) -> None:
    def copy(lines: Lines) -> None:
        first, second = bursts_of(of(lines, INT8, 1)), bursts_of(of(lines, INT8, 2))
        for place in range(7):
            second[place + 9]["wall_ns"] = first[place + 3]["wall_ns"]

    assert "in round 1 and cpu/onnxruntime/int8 at 1x128 in round 2 share samples" in refused(edited(sound, copy))


def test_samples_that_are_all_the_same_number_are_found(sound: Path) -> None:
    def even(lines: Lines) -> None:
        for burst in bursts_of(of(lines, INT8, 2)):
            burst["wall_ns"] = [12_000_000] * 3

    assert "all 75 calls took 12000000 ns, which no clock gives" in refused(edited(sound, even))


def test_a_reference_that_differs_from_its_twin_fails_the_a_a_check(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of(twin=1.06))
    assert "the A/A check failed: the reference differs from its own twin by 5" in refused(run)


def test_a_run_without_a_twin_has_no_a_a_check(sound: Path) -> None:
    def without(lines: Lines) -> None:
        lines[:] = [line for line in lines if not line["case"]["copy"]]

    assert "no A/A check" in refused(edited(sound, without))


def test_a_score_that_its_answers_do_not_give_is_found(sound: Path) -> None:
    def better(lines: Lines) -> None:
        of(lines, INT8)["scores"][0]["predictions"] = [0.0] * 60

    assert (
        "its scores do not follow from the answers: cpu/onnxruntime/int8 (accuracy 1, its answers give 0.5)"
        in refused(edited(sound, better))
    )


def test_other_labels_for_one_case_are_found(sound: Path) -> None:
    def easier(lines: Lines) -> None:
        score = of(lines, INT8)["scores"][0]
        score |= {"labels": [1.0] * 60, "predictions": [1.0] * 60}

    assert "the labels of its accuracy differ from case to case" in refused(edited(sound, easier))


def test_a_case_under_a_label_that_it_did_not_run_is_found(sound: Path) -> None:
    def relabel(lines: Lines) -> None:
        of(lines, BF16)["measurement"]["executed"]["precision"] = "fp32"

    assert "cpu/openvino/bf16: asked for bf16, but fp32 was executed" in refused(edited(sound, relabel))


def test_a_record_that_stands_twice_is_found(sound: Path) -> None:
    said = refused(edited(sound, lambda lines: lines.append(lines[2]), honest=False))
    assert "cpu/onnxruntime/int8 stands 2 times in round 1" in said


def test_records_of_two_machines_are_not_one_run(sound: Path) -> None:
    def other(lines: Lines) -> None:
        of(lines, INT8, 4)["host"]["cpu_model"] = "a faster one"

    assert "its records are of several runs: they name more than one processor" in refused(edited(sound, other))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "null", "-0.4"])
def test_numbers_that_no_measurement_gives_are_refused(sound: Path, number: str) -> None:
    files = dict(bundle.read(sound)[1])
    line, *rest = files[store.RECORDS].splitlines()
    files[store.RECORDS] = b"\n".join(
        [line.replace(b'"load_seconds":0.31', b'"load_seconds":' + number.encode()), *rest, b""]
    )
    assert (
        "load_seconds" in (said := refused(rewritten(sound, files))) or "not a whole record" in said or "sha256" in said
    )


def test_negative_times_with_right_digests_are_refused(sound: Path) -> None:
    def negative(lines: Lines) -> None:
        of(lines, INT8)["measurement"]["load_seconds"] = -0.4

    assert "cpu/onnxruntime/int8 in round 1 has -0.4 as its load time" in refused(edited(sound, negative))


def test_a_submission_of_a_newer_schema_is_refused_with_the_version_named(sound: Path) -> None:
    said = refused(edited(sound, lambda lines: lines[0].update(schema=2), honest=False))
    assert "has schema 2; this optibench" in said
    assert "reads schema 1" in said


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_half_a_file_is_refused(sound: Path, share: float) -> None:
    data = sound.read_bytes()
    sound.write_bytes(data[: int(len(data) * share)])
    assert "cut off or damaged" in refused(sound)


def test_a_line_that_lost_its_digest_is_refused(sound: Path) -> None:
    files = dict(bundle.read(sound)[1])
    lines = [json.loads(line) for line in files[store.RECORDS].splitlines()]
    lines[1]["sha256"] = ""
    files[store.RECORDS] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert "carry no sha256" in refused(rewritten(sound, files))


def test_a_submission_without_its_comparison_claims_nothing(sound: Path) -> None:
    files = {name: data for name, data in bundle.read(sound)[1].items() if name != store.COMPARISON}
    assert "claims nothing that could be checked" in refused(rewritten(sound, files))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "results.json"
    other.write_text('{"fast": true}')
    assert "no whole bundle" in refused(other)
    with zipfile.ZipFile(tmp_path / "photos.optibench.zip", "w") as zipped:
        zipped.writestr("cat.png", b"...")
    assert "'cat.png', which no bundle of a run holds" in refused(tmp_path / "photos.optibench.zip")


def test_a_run_in_which_everything_was_skipped_is_refused_with_the_reason(sound: Path) -> None:
    def skip(lines: Lines) -> None:
        lines[:] = [line for line in lines if line["round"] == 1 and line["case"]["backend"] != "limits"]
        for line in lines:
            line |= {"status": "skipped", "reason": "no runtime here", "measurement": None, "scores": []}

    assert "nothing was measured in it (no runtime here)" in refused(edited(sound, skip))


def test_records_that_fit_their_types_and_make_no_sense_are_refused_in_a_sentence(sound: Path) -> None:
    def senseless(lines: Lines) -> None:
        for line in lines:
            line["workload"]["shapes"] = []

    said = refused(edited(sound, senseless, honest=False))
    assert "Traceback" not in said
    assert said


def test_random_edits_are_refused_or_change_nothing_and_never_raise(sound: Path, tmp_path: Path) -> None:
    rng = random.Random(3)
    good = json.loads(bundle.read(sound)[1][store.RECORDS].splitlines()[2])
    hostile = ["", -1, 1e308, None, [], {}, "x" * 1000, 2**70, "\u202e<script>", [[]], True]
    for _ in range(60):

        def edit(lines: Lines) -> None:
            place: Any = lines[2]
            key = rng.choice(sorted(good))
            while isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
                place = place[key]
                key = rng.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
            place[key] = rng.choice(hostile)

        found = judged(edited(sound, edit, honest=False, out=tmp_path / "edited.optibench.zip"))
        assert all(problem for problem in found.problems)


def test_two_runs_that_share_samples_are_told_and_the_older_one_stays(sound: Path, tmp_path: Path) -> None:
    def rebrand(lines: Lines) -> None:
        for line in lines:
            line["host"]["cpu_model"] = "a much dearer one"
            line["created"] = "2026-11-24T10:00:00+00:00"

    edited(sound, rebrand, out=tmp_path / "copied.optibench.zip")
    files = dict(bundle.read(tmp_path / "copied.optibench.zip")[1])
    claimed = json.loads(files[store.COMPARISON])
    files[store.COMPARISON] = json.dumps({**claimed, "created": "2026-11-24T10:00:00+00:00"}).encode()
    rewritten(tmp_path / "copied.optibench.zip", files)
    (tmp_path / "again.optibench.zip").write_bytes(sound.read_bytes())
    found = {one.path.name: one for one in boards.validate([tmp_path])}
    assert sum(one.fine for one in found.values()) == 1
    assert "it shares samples with" in " ".join(found["copied.optibench.zip"].problems)
    same = [one for name, one in found.items() if name != "copied.optibench.zip" and not one.fine]
    assert "it is the same submission as" in same[0].problems[0]


def test_places_without_any_submission_are_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match="No submission"):
        boards.validate([tmp_path])
    with pytest.raises(OptibenchError, match="does not exist"):
        boards.validate([tmp_path / "nowhere"])


def test_the_members_of_a_submission_are_just_records_comparison_and_manifest(sound: Path) -> None:
    assert set(raw(sound)) == {"manifest.json", "records.jsonl", "comparison.json"}
    assert REFERENCE.name == "cpu/pytorch/fp32"
    assert TWIN.copy == 1
