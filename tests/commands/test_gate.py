"""`optibench gate` as a CI job runs it: on the fake backend, whose latencies are known."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

import optibench as package
from optibench import baseline as baselines
from optibench import store
from optibench.values import Record
from tests.conftest import WORDS, Optibench, write_fake_target

Measure = Callable[..., Path]


def compared(optibench: Optibench, model: Path, out: Path, **behaviour: dict[str, object]) -> Path:
    """A run on a machine of known speed, three rounds whatever the real machine is up to."""
    targets = write_fake_target(out.with_name("targets"), **behaviour)
    done = optibench(
        "compare", model, "--targets", "pretend", "--targets-dir", targets, "--out", out,
        "--rounds", "3", "--budget", "10m", "--length", "16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def measure(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> Measure:
    """``measure("new", int8={...})``: a run of that name whose int8 behaves so."""
    return lambda name, **behaviour: compared(optibench, tiny_bert, tmp_path / name, **behaviour)


@pytest.fixture(scope="module")
def unchanged(optibench: Optibench, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the usual builds, measured once for all tests."""
    return compared(optibench, tiny_bert, tmp_path_factory.mktemp("unchanged") / "run")


@pytest.fixture
def old(unchanged: Path, tmp_path: Path) -> Path:
    """The usual builds' run, to be held against."""
    return Path(shutil.copytree(unchanged, tmp_path / "old"))


def slower(factor: float) -> dict[str, object]:
    return {"latency_seconds": 0.004 * factor, "error": 0.01}


def gated(optibench: Optibench, *args: object, code: int, **more: object) -> subprocess.CompletedProcess[str]:
    done = optibench("gate", *args, **more)  # type: ignore[arg-type]  # cwd and env, as they come
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_unchanged_code_passes_against_a_run_and_against_its_saved_file(
    optibench: Optibench, old: Path, measure: Measure, tmp_path: Path
) -> None:
    new = measure("new")
    assert "Passed" in gated(optibench, new, "--baseline", old, code=0).stdout
    saved = optibench("baseline", "save", old, cwd=tmp_path)
    file = tmp_path / "reports" / "baselines" / "tiny-bert.json"
    assert str(file.relative_to(tmp_path)) in saved.stdout
    assert "Passed" in gated(optibench, new, "--baseline", file, code=0).stdout


def test_a_planted_slowdown_is_confirmed_by_a_second_measurement_and_fails(
    optibench: Optibench, old: Path, measure: Measure, tmp_path: Path
) -> None:
    new = measure("new", int8=slower(1.2))
    done = gated(optibench, new, "--baseline", old, code=1)
    assert "1 of 2 cases regressed, confirmed by a second measurement" in done.stdout
    assert re.search(r"\b(19|20|21)(\.\d)?% slower", done.stdout)
    again = tmp_path / "new-again"
    assert len({json.loads(line)["round"] for line in (again / "records.jsonl").read_text().splitlines()}) == 3
    assert package.load(again).comparison.reference == "pretend/fake/fp32"


def test_a_slower_machine_alone_is_no_regression(optibench: Optibench, old: Path, measure: Measure) -> None:
    new = measure("new", fp32={"latency_seconds": 0.020}, int8=slower(2))
    assert "Passed" in gated(optibench, new, "--baseline", old, code=0).stdout


def test_a_regression_that_a_fresh_measurement_does_not_find_is_none(
    optibench: Optibench, old: Path, measure: Measure, tmp_path: Path
) -> None:
    new = measure("new", int8=slower(1.2))
    # What made it slow is over by the time it is measured again.
    plan = json.loads((new / "plan.json").read_text())
    plan["plan"]["targets"][0]["options"]["fake"]["int8"]["latency_seconds"] = 0.004
    (new / "plan.json").write_text(json.dumps(plan))
    done = gated(optibench, new, "--baseline", old, code=0)
    assert "A second measurement did not confirm it" in done.stdout
    assert "regressed" in gated(optibench, new, "--baseline", old, "--no-confirm", code=1).stdout


def test_undecided_cases_alone_get_more_rounds_and_a_verdict(optibench: Optibench, measure: Measure) -> None:
    noisy = {"latency_seconds": 0.004, "error": 0.01, "round_noise": 0.02}
    bf16 = {"latency_seconds": 0.005}
    old, new = (
        measure("old", int8=noisy, bf16=bf16),
        measure("new", int8={**noisy, "latency_seconds": 0.0041}, bf16=bf16),
    )
    before = (new / "records.jsonl").read_text()
    assert "undecided" in gated(optibench, new, "--baseline", old, "--on-unknown", "fail", code=2).stdout
    assert (
        "1 undecided, which was allowed"
        in gated(optibench, new, "--baseline", old, "--on-unknown", "pass", code=0).stdout
    )
    assert (new / "records.jsonl").read_text() == before
    done = optibench("gate", new, "--baseline", old, "--budget", "3s")
    added = [json.loads(line) for line in (new / "records.jsonl").read_text()[len(before) :].splitlines()]
    assert {record["case"]["precision"] for record in added} == {"fp32", "int8"}
    assert {record["round"] for record in added} >= {4}
    assert "undecided, so measured further: pretend/fake/int8" in done.stderr
    assert package.load(new).comparison.workload.rounds == max(record["round"] for record in added)


# What the baseline has and the run has not; what cannot be compared


def test_a_case_that_fails_now_is_not_measured_and_fails_the_gate(optibench: Optibench, measure: Measure) -> None:
    old = measure("old", bf16={"latency_seconds": 0.005})
    new = measure("new", bf16={"latency_seconds": 0.005}, int8={"fail": "load"})
    done = gated(optibench, new, "--baseline", old, code=2)
    assert "pretend/fake/int8 at 1x16: failed in the run: the fake runtime cannot open this file" in done.stdout
    assert "Passed" in gated(optibench, new, "--baseline", old, "--cases", "*/bf16", code=0).stdout
    assert (
        "No case of the baseline is named like"
        in gated(optibench, new, "--baseline", old, "--cases", "cuda/*", code=2).stderr
    )


def rewritten(run: Path, change: Callable[[Record], Record]) -> None:
    """The run's records, each changed, as if it had been made so."""
    folder = store.open_run(run)
    records, _ = folder.records()
    (run / store.RECORDS).unlink()
    for record in records:
        folder.append(change(record))


def on_another_machine(record: Record) -> Record:
    return msgspec.structs.replace(record, host=msgspec.structs.replace(record.host, cpu_model="Abacus 3000"))


def test_a_file_that_is_no_baseline_or_was_edited_is_said(optibench: Optibench, old: Path, tmp_path: Path) -> None:
    optibench("baseline", "save", old, "--out", tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    number = json.loads(text)["cases"][1]["shapes"][0]["log_ratios"][0]
    (tmp_path / "b.json").write_text(text.replace(f"{number}", "-0.5", 1))
    said = gated(optibench, old, "--baseline", tmp_path / "b.json", code=2).stderr
    assert "was changed after it was written" in said
    assert "optibench baseline update" in said
    mended = optibench("baseline", "update", old, "--out", tmp_path / "b.json")
    assert "was changed after it was written" in mended.stderr
    gated(optibench, old, "--baseline", tmp_path / "b.json", code=0)
    assert "is not a baseline" in gated(optibench, old, "--baseline", old / "comparison.json", code=2).stderr
    assert "There is no baseline" in gated(optibench, old, "--baseline", tmp_path / "no.json", code=2).stderr
    assert "does not exist" in gated(optibench, tmp_path / "no", "--baseline", old, code=2).stderr


def test_a_records_file_that_was_cut_off_is_used_as_far_as_it_goes(optibench: Optibench, old: Path) -> None:
    optibench("baseline", "save", old, "--out", old / "b.json")
    file = old / "records.jsonl"
    file.write_bytes(file.read_bytes()[:-200])
    done = optibench("gate", old, "--baseline", old / "b.json", "--on-unknown", "pass")
    assert done.returncode == 0, done.stderr
    assert "was cut off" in done.stdout
    file.write_text(file.read_text().replace('"threads":', '"threads": 1', 1))
    assert "Line 1 of" in gated(optibench, old, "--baseline", old / "b.json", code=2).stderr


def test_another_machine_is_refused_by_name_unless_it_is_allowed(
    optibench: Optibench, old: Path, tmp_path: Path
) -> None:
    new = shutil.copytree(old, tmp_path / "new")
    rewritten(old, on_another_machine)
    said = gated(optibench, new, "--baseline", old, code=2).stderr
    assert "CPU Abacus 3000 ->" in said
    assert "--allow-different-hardware" in said
    done = gated(optibench, new, "--baseline", old, "--allow-different-hardware", code=0)
    assert "CPU Abacus 3000 ->" in done.stdout


def test_a_regression_of_another_machines_run_cannot_be_confirmed_here(
    optibench: Optibench, old: Path, measure: Measure
) -> None:
    new = measure("new", int8=slower(1.2))
    for run in (old, new):
        rewritten(run, on_another_machine)
    done = gated(optibench, new, "--baseline", old, code=2)
    assert "could not be confirmed here" in done.stdout
    assert "CPU Abacus 3000 ->" in done.stdout
    assert not new.with_name("new-again").exists()
    gated(optibench, new, "--baseline", old, "--no-confirm", code=1)


def test_a_baseline_of_another_model_or_workload_is_refused(
    optibench: Optibench, old: Path, measure: Measure, tmp_path: Path
) -> None:
    found = baselines.of_run(old)
    for change, says in (
        ({"model": msgspec.structs.replace(found.model, id="other", weights_sha256="0" * 64)}, "another model"),
        ({"shapes": (msgspec.structs.replace(found.shapes[0], batch=64),)}, "other shapes"),
        ({"schema": 2}, "has schema 2"),
    ):
        baselines.write(msgspec.structs.replace(found, **change), tmp_path / "b.json")  # type: ignore[arg-type]
        assert says in gated(optibench, old, "--baseline", tmp_path / "b.json", code=2).stderr


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--max-slowdown", "0.05", "is not a percentage such as 5%"),
        ("--max-slowdown", "fast", "is not a percentage"),
        ("--max-slowdown", "-5%", "--max-slowdown takes 0% to 1000%"),
        ("--max-accuracy-drop", "150%", "--max-accuracy-drop takes 0% to 100%"),
        ("--max-memory-growth", "nan%", "is not a percentage"),
        ("--on-unknown", "maybe", "rerun"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    optibench: Optibench, tmp_path: Path, option: str, value: str, says: str
) -> None:
    said = gated(optibench, tmp_path, "--baseline", tmp_path / "b.json", f"{option}={value}", code=2).stderr
    assert says in said


# Accuracy, in this process


def test_a_planted_drop_of_accuracy_fails_the_gate_though_the_case_became_faster(
    tiny_classifier: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optibench import api, gating
    from optibench.execute import inline
    from optibench.plan import Request

    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))

    def measured(name: str, rows: list[tuple[str, float]], **int8: Any) -> Path:
        data = tmp_path / "data.csv"
        data.write_text("text,label\n" + "".join(f"{text},{label:.0f}\n" for text, label in rows))
        request = Request(
            model=str(tiny_classifier),
            targets=("pretend",),
            targets_dir=str(write_fake_target(tmp_path / "targets", int8=int8)),
            dataset=str(data),
            calibration=str(tmp_path / "words.csv"),
            lengths=(16,),
            rounds=3,
            budget_seconds=600.0,
        )
        return api.run(request, out=tmp_path / name, command="", launch=inline.launch).path or tmp_path

    # Labels are what the fake model says itself, so that the reference is right and an error shows.
    texts = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 9)) for i in range(1, 400)]
    (tmp_path / "words.csv").write_text("text\n" + "\n".join(WORDS) + "\n")
    first = measured("labels", [(text, 0) for text in texts], latency_seconds=0.004)
    answers = next(r.scores[0].predictions for r in store.open_run(first).records()[0] if r.scores)
    rows = [(text, answer) for text, answer in zip(texts, answers, strict=True) if answer < 2]
    old = measured("old", rows, latency_seconds=0.004, error=0.01)
    new = measured("new", rows, latency_seconds=0.003, error=1.0)
    result = gating.gate(new, old, launch=inline.launch)
    (red,) = result.with_verdict("regressed")
    assert (red.case, red.second, result.exit_code) == ("pretend/fake/int8", "confirmed", 1)
    assert re.match(r"2[456](\.\d)?% faster", red.message)
    assert "% faster" in red.message
    assert "points on" in red.message
    assert "is below the floor" in red.message
    same = gating.gate(measured("same", rows, latency_seconds=0.004, error=0.01), old, launch=inline.launch)
    assert same.exit_code == 0


# What it prints, and where


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a place that nobody may write to")
def test_a_file_that_cannot_be_written_costs_no_verdict(optibench: Optibench, old: Path) -> None:
    done = gated(optibench, old, "--baseline", old, "--format", "junit", "--out", "/proc/none/gate.xml", code=2)
    assert done.stdout.startswith("Passed")
    assert "/proc/none/gate.xml cannot be written" in done.stderr


def test_a_reader_that_goes_away_does_not_change_the_verdict(old: Path, tmp_path: Path) -> None:
    for form in ("text", "json"):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "optibench.cli", "gate", old, "--baseline", old, "--format", form]
        command += ["--out", tmp_path / f"{form}.out"] if form == "text" else []
        done = subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "text.out").is_file()


def test_ci_gets_its_file_its_annotations_and_its_summary(optibench: Optibench, old: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n")
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    done = gated(
        optibench, old, "--baseline", old, "--format", "junit", "--out", tmp_path / "out" / "gate.xml", code=0, env=env
    )
    assert ElementTree.parse(tmp_path / "out" / "gate.xml").getroot()[0].get("failures") == "0"
    assert done.stdout.startswith("Passed")
    assert "::notice title=optibench gate::Passed" in done.stderr
    assert summary.read_text().startswith("# Before\n## ✅ optibench gate: tiny-bert")
    printed = gated(optibench, old, "--baseline", old, "--json", code=0, env=env).stdout
    assert json.loads(printed)["exit_code"] == 0


def test_python_gets_the_same_verdicts(old: Path) -> None:
    result = package.gate(old, old, max_slowdown=0.1)
    assert result.passed
    assert {case.verdict for case in result.cases} == {"pass"}
    assert "The baseline was saved from this very run." in result.notes


def test_a_baseline_is_saved_once_shown_and_updated_with_what_changed(
    optibench: Optibench, old: Path, measure: Measure, tmp_path: Path
) -> None:
    new = measure("new", int8=slower(2))
    assert optibench("baseline", "save", old, cwd=tmp_path).returncode == 0
    again = optibench("baseline", "save", old, cwd=tmp_path)
    assert again.returncode == 2
    assert "optibench baseline update" in again.stderr
    file = tmp_path / "reports" / "baselines" / "tiny-bert.json"
    shown = optibench("baseline", "show", file)
    assert "pretend/fake/int8" in shown.stdout
    assert re.search(r"2\.(4|5)\d×", shown.stdout)
    assert json.loads(optibench("baseline", "show", file, "--json").stdout)["kind"] == "optibench baseline"
    updated = optibench("baseline", "update", new, cwd=tmp_path)
    assert re.search(r"1\.2\d× \(was 2\.(4|5)\d×\)", updated.stdout)
    assert optibench("baseline", "update", new, "--out", tmp_path / "none.json").returncode == 2
