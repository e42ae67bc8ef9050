"""Two runs held against each other: what was planted is found, and what cannot be compared is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import optibench as package
from optibench.difference_values import Difference
from optibench.errors import OptibenchError
from optibench.render import difference as render
from optibench.render import difference_page
from optibench.values import Artifact, Record, Score, Shape
from tests.conftest import Optibench
from tests.factories import data, host, model, record
from tests.kept import INT8, OPENVINO, REFERENCE, records_of, write_finished
from tests.render.hostile import OBEYED, TEXT

OTHER_MACHINE = host(cpu_model="AMD EPYC 9R14")


def diff(tmp_path: Path, a: list[Record], b: list[Record]) -> Difference:
    return package.diff(write_finished(tmp_path / "a", a), write_finished(tmp_path / "b", b))


def scored(records: list[Record], right: int, of: int = 1000, **changes: Any) -> list[Record]:
    """The records with an accuracy of right / of for INT8, and of 0.9 for the reference."""
    labels = (1.0,) * of

    def one(record: Record) -> Record:
        hits = right if record.case == INT8 else of * 9 // 10
        score = Score(
            metric="accuracy",
            value=hits / of,
            count=of,
            predictions=(1.0,) * hits + (0.0,) * (of - hits),
            labels=labels,
        )
        return msgspec.structs.replace(record, scores=(score,), answers_sha256="ab" * 32, **changes)

    return [one(record) for record in records]


def test_a_change_of_a_build_is_found_though_the_machine_is_slower(tmp_path: Path) -> None:
    found = diff(
        tmp_path,
        records_of({INT8: 3.0, OPENVINO: 5.0}, day=1),
        records_of({INT8: 2.4, OPENVINO: 5.0}, day=2, slow=1.05),
    )
    assert found.basis == "reference"
    verdicts = {case.case: case.verdict for case in found.cases}
    assert verdicts == {REFERENCE.name: "reference", INT8.name: "slower", OPENVINO.name: "same"}
    change = next(case for case in found.cases if case.case == INT8.name).quantity("speedup")
    assert change
    assert change.change
    assert change.change.low < 0.8 < change.change.high


def test_a_machine_at_another_pace_is_warned_of(tmp_path: Path) -> None:
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({INT8: 3.0}, day=1, slow=1.5))
    assert any("another pace" in warning for warning in found.warnings)


def test_on_another_machine_latencies_are_compared_and_it_is_said(tmp_path: Path) -> None:
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({INT8: 3.0}, day=1, slow=0.5, host=OTHER_MACHINE))
    assert found.basis == "clock"
    assert any("AMD EPYC 9R14" in change for change in found.changes)
    assert {case.verdict for case in found.cases} == {"faster"}
    latency = found.cases[1].quantity("latency")
    assert latency
    assert latency.change
    assert latency.change.mid == pytest.approx(0.5, rel=0.02)


def test_another_model_is_compared_by_the_clock_with_a_word_of_care(tmp_path: Path) -> None:
    other = model(id="bge-small", revision="sha256:" + "cd" * 32, weights_sha256="cd" * 32)
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({INT8: 6.0}, day=1, model=other))
    assert found.basis == "clock"
    assert "optibench gate MODEL --against OTHER" in found.basis_reason
    assert any("minilm -> bge-small" in change for change in found.changes)
    assert {case.case: case.verdict for case in found.cases}[INT8.name] == "faster"


def test_new_versions_are_named_and_the_references_own_are_told_apart(tmp_path: Path) -> None:
    versions = ({"torch": "2.13.0", "onnxruntime": "1.31.0"}, {"torch": "2.14.0", "onnxruntime": "1.32.0"})
    a, b = (records_of({INT8: 3.0}, day=day, host=host(packages=one)) for day, one in enumerate(versions))
    found = diff(tmp_path, a, b)
    assert "onnxruntime 1.31.0 -> 1.32.0" in found.changes
    (whole,) = [one for one in found.not_compared if "reference itself" in one.what]
    assert "torch 2.13.0 -> 2.14.0" in whole.reason


def test_scores_on_the_same_examples_have_a_paired_interval_and_a_verdict(tmp_path: Path) -> None:
    task = model(task="text-classification")
    a = scored(records_of({INT8: 3.0}, model=task), right=900)
    b = scored(records_of({INT8: 3.0}, day=1, model=task), right=860)
    found = next(case for case in diff(tmp_path, a, b).cases if case.case == INT8.name).quantity("score")
    assert found
    assert found.change
    assert found.verdict == "worse"
    assert found.change.low <= -0.04 <= found.change.high < 0


def test_scores_on_other_data_stand_beside_each_other_without_a_verdict(tmp_path: Path) -> None:
    task = model(task="text-classification")
    a = scored(records_of({INT8: 3.0}, model=task), right=900)
    b = scored(records_of({INT8: 3.0}, day=1, model=task), right=860, dataset=data(sha256="99" * 32))
    found = diff(tmp_path, a, b)
    score = next(case for case in found.cases if case.case == INT8.name).quantity("score")
    assert score
    assert score.verdict == "unknown"
    assert (score.a, score.b) == (0.9, 0.86)
    assert any(one.what == "scores" and "other data" in one.reason for one in found.not_compared)


def test_sizes_are_exact_and_a_larger_artifact_is_called_so(tmp_path: Path) -> None:
    big = Artifact(format="onnx", path="m", sha256="ee" * 32, bytes=46_200_000)
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({INT8: 3.0}, day=1, artifact=big)).cases[1]
    size = found.quantity("size")
    assert size
    assert size.verdict == "larger"
    assert found.same_artifact is False


def test_cases_of_one_run_alone_are_named(tmp_path: Path) -> None:
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({OPENVINO: 3.0}, day=1))
    told = {one.what: one.reason for one in found.not_compared}
    assert "only A" in told["cpu/onnxruntime/int8 at 1×128"]
    assert "only B" in told["cpu/openvino/int8 at 1×128"]


def test_runs_of_other_shapes_have_nothing_in_common_and_it_is_said(optibench: Optibench, tmp_path: Path) -> None:
    write_finished(tmp_path / "a", records_of({INT8: 3.0}))
    write_finished(tmp_path / "b", records_of({INT8: 3.0}, shape=Shape(batch=8, length=16)))
    done = optibench("diff", "a", "b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing that can be compared" in done.stdout
    assert "only A has this case and shape" in done.stdout


def test_every_format_says_the_same(optibench: Optibench, tmp_path: Path) -> None:
    write_finished(tmp_path / "a", records_of({INT8: 3.0}))
    write_finished(tmp_path / "b", records_of({INT8: 2.4}, day=1))
    text, markdown, as_json = (optibench("diff", "a", "b", "--format", f, cwd=tmp_path) for f in ("text", "md", "json"))
    for done in (text, markdown, as_json):
        assert done.returncode == 0, done.stderr
    assert "B against A: 1 slower" in text.stdout
    assert "B against A: 1 slower" in markdown.stdout
    assert [case["verdict"] for case in json.loads(as_json.stdout)["cases"]] == ["reference", "slower"]
    page = optibench("diff", "a", "b", "--format", "html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "B against A: 1 slower" in (tmp_path / "diff.html").read_text()


def test_a_strangers_text_is_not_obeyed(tmp_path: Path) -> None:
    hostile = {"host": host(cpu_model=TEXT, packages={TEXT: TEXT}), "model": model(id=TEXT)}
    found = diff(tmp_path, records_of({INT8: 3.0}), records_of({INT8: 3.0}, day=1, **hostile))
    for shown in (render.text(found), render.markdown(found), difference_page.render(found)):
        assert not set(OBEYED) & set(shown)
    assert "<b>tag</b>" not in render.markdown(found) + difference_page.render(found)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a", "nowhere"], "nowhere does not exist"),
        (["a", "skipped"], "Nothing was measured in skipped (no driver)"),
        (["a", "a", "--format", "pdf"], "text"),
        (["a"], "RUN_B"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(
    optibench: Optibench, tmp_path: Path, args: list[str], words: str
) -> None:
    write_finished(tmp_path / "a", records_of({INT8: 3.0}))
    write_finished(
        tmp_path / "skipped", [record(status="skipped", reason="no driver", measurement=None, created="2026-10-01")]
    )
    done = optibench("diff", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_of_a_newer_schema_is_refused_by_its_number(tmp_path: Path) -> None:
    a = write_finished(tmp_path / "a", records_of({INT8: 3.0}))
    b = write_finished(tmp_path / "b", records_of({INT8: 3.0}))
    (b / "records.jsonl").write_text((b / "records.jsonl").read_text().replace('"schema":1', '"schema":9', 1))
    with pytest.raises(OptibenchError, match="schema 9"):
        package.diff(a, b)
