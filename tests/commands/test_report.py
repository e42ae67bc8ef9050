"""`optibench report` as a user runs it, over kept runs, whole and broken."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import optibench as package
from optibench import begun, bundle, cli, models, store
from optibench.errors import OptibenchError
from optibench.render.chart_report import CHARTS
from optibench.reported import Reported, export_command, reported_from_path
from optibench.results import Recommended
from tests.conftest import Optibench
from tests.factories import case, comparison, model, record, reference
from tests.kept import INT8, OPENVINO, records_of, write_finished, write_run

HUB = model(id="user/name", source="hub", revision="c" * 40)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_finished(tmp_path / "run", records_of({INT8: 3.0, OPENVINO: 5.0}))


def test_the_page_is_written_into_the_runs_folder(optibench: Optibench, run: Path) -> None:
    done = optibench("report", run)
    assert done.returncode == 0, done.stderr
    assert f"Written: {run}/report.html" in done.stderr
    page = (run / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert len(page) < 2_000_000
    for words in ("cpu/onnxruntime/int8", "Noise floor", "records of", "optibench compare minilm", "<svg"):
        assert words in page


def test_the_text_formats_go_to_standard_output_and_nothing_else_does(run: Path, optibench: Optibench) -> None:
    shown = {form: optibench("report", run, "--format", form) for form in ("md", "csv", "json", "junit", "tex", "text")}
    for done in shown.values():
        assert done.returncode == 0, done.stderr
    assert shown["md"].stdout.startswith("# minilm")
    assert len(list(csv.DictReader(io.StringIO(shown["csv"].stdout)))) == 3
    assert json.loads(shown["json"].stdout)["reference"] == "cpu/pytorch/fp32"
    assert ElementTree.fromstring(shown["junit"].stdout)[0].get("tests") == "3"
    assert "\\begin{tabular}" in shown["tex"].stdout
    assert "cpu/openvino/int8" in shown["text"].stdout
    assert not (run / "report.md").exists()


@pytest.mark.parametrize(("form", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG\r\n")])
def test_a_chart_is_drawn_for_a_readme(
    optibench: Optibench, run: Path, tmp_path: Path, form: str, begins: bytes
) -> None:
    out = tmp_path / f"chart.{form}"
    done = optibench("report", run, "--format", form, "--chart", "latency", "--dark", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(begins)
    if form == "svg":
        assert "Latency of each case" in out.read_text()
        assert "#14191f" in out.read_text()


def test_a_bundle_is_reported_beside_itself(optibench: Optibench, run: Path, tmp_path: Path) -> None:
    bundle.write(run, tmp_path / "mine.optibench.zip")
    done = optibench("report", tmp_path / "mine.optibench.zip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine-report.html").read_text().startswith("<!doctype html>")


def test_an_unfinished_run_is_reported_as_far_as_it_went_and_said_to_be(optibench: Optibench, tmp_path: Path) -> None:
    half = write_run(tmp_path / "half", records_of({INT8: 3.0}, rounds=3), finished=False)
    (half / "records.jsonl").write_bytes((half / "records.jsonl").read_bytes()[:-100])
    done = optibench("report", half, "--format", "text")
    assert done.returncode == 0, done.stderr
    assert "line 9) was cut off" in done.stderr
    assert "was not finished" in done.stderr
    assert "was not finished" in done.stdout


def test_a_run_in_which_everything_was_skipped_has_a_page_that_says_why(optibench: Optibench, tmp_path: Path) -> None:
    skipped = [
        record(status="skipped", reason="no NVIDIA driver here", measurement=None, created="2026-10-01T03:00:00")
    ]
    done = optibench("report", write_finished(tmp_path / "run", skipped))
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Nothing could be measured" in page
    assert "no NVIDIA driver here" in page
    picture = optibench("report", tmp_path / "run", "--format", "svg")
    assert picture.returncode == 2
    assert "no case was measured" in picture.stderr


# Bad input


def broken(run: Path, name: str, what: str) -> None:
    """Breaks a file of the run."""
    file = run / name
    text = file.read_text()
    broken_texts = {
        "half": text[: len(text) // 2],
        "newer": text.replace('"schema": 1', '"schema": 9', 1).replace('"schema":1', '"schema":9', 1),
        "older": text.replace('"schema": 1', '"schema": 0', 1).replace('"schema":1', '"schema":0', 1),
        "not a number": text.replace('"load_seconds": 0.31', '"load_seconds": NaN').replace(
            '"load_seconds":0.31', '"load_seconds":NaN'
        ),
        "infinite": text.replace('"load_seconds": 0.31', '"load_seconds": 1e999').replace(
            '"load_seconds":0.31', '"load_seconds":1e999'
        ),
        "edited": text.replace('"load_seconds":0.31', '"load_seconds":0.11', 1),
        "empty": "",
    }
    assert broken_texts[what] != text
    file.write_text(broken_texts[what])


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("comparison.json", "half", "comparison.json is not a whole comparison"),
        ("comparison.json", "empty", "comparison.json is not a whole comparison"),
        ("comparison.json", "newer", "has schema 9; this optibench (0.1.0) reads schema 1"),
        ("comparison.json", "older", "has schema 0; this optibench (0.1.0) reads schema 1"),
        ("comparison.json", "not a number", "comparison.json is not a whole comparison"),
        ("comparison.json", "infinite", "comparison.json is not a whole comparison"),
        ("records.jsonl", "newer", "Line 1 of"),
        ("records.jsonl", "newer", "has schema 9; this optibench (0.1.0) reads schema 1"),
        ("records.jsonl", "older", "has schema 0"),
        ("records.jsonl", "not a number", "is not a whole record"),
        ("records.jsonl", "infinite", "is not a whole record"),
        ("records.jsonl", "edited", "was changed after it was written"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(run: Path, name: str, what: str, words: str) -> None:
    broken(run, name, what)
    before = sorted(run.iterdir())
    with pytest.raises(OptibenchError) as error:
        package.report(run)
    assert words in str(error.value)
    assert name in str(error.value)
    assert sorted(run.iterdir()) == before


def test_a_bundle_that_was_cut_off_is_refused(run: Path, tmp_path: Path) -> None:
    path, _ = bundle.write(run, tmp_path / "cut.optibench.zip")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OptibenchError, match="no whole bundle"):
        package.report(path)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nowhere"], "nowhere does not exist"),
        (["."], "has no run in it"),
        (["run", "--format", "htm"], "Did you mean html?"),
        (["run", "--format", "svg", "--chart", "tradeof"], "Did you mean tradeoff?"),
        (["run", "--chart", "tradeoff"], "--chart and --dark go with"),
        (["run", "--format", "md", "--open"], "--open goes with"),
        (["run", "--out", "missing/report.html"], "missing/report.html cannot be written"),
        ([], "Missing argument 'RUN'"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(optibench: Optibench, run: Path, args: list[str], words: str) -> None:
    done = optibench("report", *args, cwd=run.parent)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("missing", ["vl_convert", "jinja2"])
def test_without_the_extra_the_error_says_what_to_install(run: Path, missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['optibench', 'report', {str(run)!r}]\n"
        "from optibench import cli; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'optibench[charts]'" in done.stderr
    assert "Traceback" not in done.stderr


# The page that a run ends with


def written_page(run: Path) -> list[str]:
    said: list[str] = []
    found, _ = reported_from_path(run)
    begun.write_page(store.open_run(run), found, said.append)
    return said


def test_where_the_extra_is_missing_a_run_ends_without_a_page_and_says_how_to_get_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTIBENCH_PAGE")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    said = written_page(run)
    assert "pip install 'optibench[charts]'" in said[-1]
    assert not (run / "report.html").exists()


def test_a_page_that_cannot_be_drawn_costs_the_run_nothing_else(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTIBENCH_PAGE")
    monkeypatch.setattr("optibench.render.html.render_run", lambda run: 1 / 0)
    said = written_page(run)
    assert "could not be written (ZeroDivisionError" in said[-1]
    assert f"optibench report {run}" in said[-1]


def test_the_page_is_left_out_on_request(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTIBENCH_PAGE", "0")
    assert not written_page(run)
    assert not (run / "report.html").exists()


# What to type


@pytest.mark.parametrize(
    ("changes", "request_", "words"),
    [
        (
            {},
            {},
            "optibench export minilm --backend onnxruntime --precision int8-dynamic --out minilm-onnxruntime-int8",
        ),
        ({}, {"model": "./my model", "columns": {"text": "a b"}}, "export './my model' --backend"),
        ({}, {"dataset": "test.csv", "columns": {"text": "review"}}, "--dataset test.csv --columns text=review"),
        (
            {"model": model(id="user/name", source="hub", revision="c" * 40)},
            {"model": "user/name"},
            f"user/name@{'c' * 40}",
        ),
    ],
)
def test_the_command_that_makes_the_recommended_artifact_is_one_that_the_program_takes(
    changes: dict[str, Any], request_: dict[str, Any], words: str
) -> None:
    line = export_command(Reported(comparison=comparison(**changes), request=request_))
    assert line is not None
    assert words in line
    command = cli.cli.commands["export"]
    assert command.make_context("export", shlex.split(line)[2:]).params["backend"] == "onnxruntime"


def test_what_a_short_name_brings_by_itself_need_not_be_typed() -> None:
    alias = models.aliases()["minilm"]
    asked = {"model": "minilm", "dataset": alias.dataset, "columns": alias.columns, "calibration": alias.calibration}
    line = export_command(Reported(comparison=comparison(), request=asked))
    assert line is not None
    assert "--dataset" not in line
    assert "--columns" not in line
    other = export_command(Reported(comparison=comparison(), request={**asked, "dataset": "mine.csv"}))
    assert other is not None
    assert "--dataset mine.csv" in other


def test_where_the_model_is_to_be_kept_as_it_is_there_is_nothing_to_type() -> None:
    kept = Recommended(case="cpu/pytorch/fp32", sentence="Keep PyTorch fp32.")
    assert export_command(Reported(comparison=comparison(recommended=kept))) is None
    checkpoint = case("cpu/pytorch/bf16", artifact_sha256=model().weights_sha256)
    faster = comparison(
        cases=(reference(), checkpoint), recommended=Recommended(case=checkpoint.case, sentence="Faster.")
    )
    assert export_command(Reported(comparison=faster)) is None


def test_the_help_names_every_chart(optibench: Optibench) -> None:
    words = set(optibench("report", "--help").stdout.replace(",", " ").replace(".", " ").split())
    assert set(CHARTS) <= words
