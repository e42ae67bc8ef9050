"""`optibench gate MODEL --against` as a user runs it: both sides of a planted change in one run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import optibench as package
from optibench import store
from optibench.errors import OptibenchError
from optibench.execute import inline
from optibench.gating import gate_sides
from optibench.plan import Request
from optibench.values import Record
from optibench.verdicts import GateResult
from tests.conftest import WORDS, Optibench, write_fake_target
from tests.hub.server import Hub

USUAL: dict[str, dict[str, Any]] = {
    "fp32": {"latency_seconds": 0.500, "call_noise": 0.01},
    "int8": {"latency_seconds": 0.200, "call_noise": 0.01},
}
SLOWER: dict[str, dict[str, Any]] = {"int8": {"latency_seconds": 0.200 / 1.2}}
"""What the other side does otherwise, so that this one is 20% slower."""
Gate = Callable[..., subprocess.CompletedProcess[str]]
Judge = Callable[..., GateResult]


@pytest.fixture(scope="module")
def older(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another state of the model: a copy with another weight."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path_factory.mktemp("older") / "tiny-bert"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("query.weight"))
    save_file({**weights, name: weights[name] * 1.5}, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.fixture
def gate(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> Gate:
    """``gate("--against", older, code=1, behaviour={...}, otherwise={...})``: the command, in an empty folder."""
    (tmp_path / "here").mkdir()

    def run(
        *args: object, code: int, behaviour: dict[str, Any] | None = None, otherwise: dict[str, Any] | None = None
    ) -> subprocess.CompletedProcess[str]:
        targets = write_fake_target(tmp_path / "targets", against=otherwise, **{**USUAL, **(behaviour or {})})
        done = optibench(
            "gate", tiny_bert, *args, "--targets", "pretend", "--targets-dir", targets, "--length", "16",
            cwd=tmp_path / "here",
        )  # fmt: skip
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def judge(tiny_bert: Path, older: str, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """The same without the command, workers in this process: for what the command adds nothing to."""
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))

    def run(behaviour: dict[str, Any] | None = None, otherwise: dict[str, Any] | None = None, **asked: Any) -> Any:
        targets = write_fake_target(tmp_path / "targets", against=otherwise, **{**USUAL, **(behaviour or {})})
        how = {name: asked.pop(name) for name in ("cases", "on_unknown", "confirm", "say") if name in asked}
        request = Request(
            **{"model": str(tiny_bert), **asked},
            targets=("pretend",), targets_dir=str(targets), lengths=(16,), rounds=5, budget_seconds=600.0,
        )  # fmt: skip
        other = str(request.model) if request.dataset else older
        return gate_sides(request, against=other, run_dir=tmp_path / "run", launch=inline.launch, **how)

    return run


def records(run: Path) -> list[Record]:
    return store.open_run(run).records()[0]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def test_an_unchanged_model_passes_and_both_sides_are_in_the_folder_that_was_asked_for(
    gate: Gate, older: str, tmp_path: Path
) -> None:
    done = gate("--against", older, "--run-dir", "mine", code=0)
    assert done.stdout.startswith("Passed: 2 of 2 cases within the limits.")
    assert "The model's revision differs: new weights." in done.stdout
    assert "Both sides took turns in the run in mine." in done.stdout
    assert "baseline" not in done.stdout
    assert {record.case.variant for record in records(tmp_path / "here" / "mine")} == {"", "against"}
    assert package.load(tmp_path / "here" / "mine").comparison.command.startswith("optibench gate ")


def test_a_quick_gate_takes_a_quick_runs_time_unless_a_budget_is_given(gate: Gate, older: str, tmp_path: Path) -> None:
    def budget(run: str) -> float:
        return records(tmp_path / "here" / run)[0].workload.budget_seconds

    gate("--against", older, "--quick", "--run-dir", "first", "--on-unknown", "pass", code=0)
    gate("--against", older, "--quick", "--budget", "2m", "--run-dir", "second", "--on-unknown", "pass", code=0)
    assert (budget("first"), budget("second")) == (90, 120)


def test_a_planted_slowdown_is_confirmed_by_a_second_run_of_both_sides_and_fails(
    gate: Gate, older: str, tmp_path: Path
) -> None:
    to_file = ("--format", "junit", "--out", "gate.xml")
    done = gate("--against", older, "--run-dir", "mine", *to_file, code=1, otherwise=SLOWER)
    assert done.stdout.startswith("Failed: 1 of 2 cases regressed, confirmed by a second measurement.")
    assert re.search(r"int8 at 1x16: (19|20)(\.\d)?% slower", done.stdout)
    again = tmp_path / "here" / "mine-again"
    assert f"The second measurement is in {again}." in done.stdout
    assert {record.case.name for record in records(again) if not record.case.is_limit} == {
        "pretend/fake/fp32", "pretend/fake/fp32#2", "pretend/fake/int8", "against:pretend/fake/int8",
    }  # fmt: skip
    suite = ElementTree.parse(tmp_path / "here" / "gate.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_build_that_became_faster_is_improved(judge: Judge) -> None:
    result = judge(otherwise={"int8": {"latency_seconds": 0.250}})
    assert {case.case: case.verdict for case in result.cases} == {
        "pretend/fake/fp32": "pass", "pretend/fake/int8": "improved",
    }  # fmt: skip
    assert result.exit_code == 0


def test_the_reference_is_judged_too_since_it_has_another_side(judge: Judge) -> None:
    result = judge(otherwise={"fp32": {"latency_seconds": 0.400}})
    assert [case.case for case in result.with_verdict("regressed")] == ["pretend/fake/fp32"]
    assert result.cases[0].second == "confirmed"


def test_a_regression_that_the_second_run_does_not_find_is_none(judge: Judge, tmp_path: Path) -> None:
    def say(text: str) -> None:
        if text.startswith("regressed"):  # what made it slow is over by the time it is measured again
            plan = json.loads((tmp_path / "run" / "plan.json").read_text())
            plan["plan"]["targets"][0]["options"]["fake"]["int8"] = SLOWER["int8"]
            (tmp_path / "run" / "plan.json").write_text(json.dumps(plan))

    result = judge(otherwise=SLOWER, say=say)
    assert (result.exit_code, result.cases[1].verdict, result.cases[1].second) == (0, "pass", "refuted")
    assert "A second measurement did not confirm it" in result.cases[1].message


def test_a_drop_of_accuracy_is_a_regression_though_the_build_became_faster(
    judge: Judge, tiny_classifier: Path, tmp_path: Path, cache_root: Path
) -> None:
    from optibench import api

    # Labels are what the fake model says itself, so that the reference is right and an error shows.
    texts = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 9)) for i in range(1, 300)]
    (tmp_path / "words.csv").write_text("text\n" + "\n".join(WORDS) + "\n")
    data = tmp_path / "data.csv"
    asked: dict[str, Any] = {
        "model": str(tiny_classifier),
        "dataset": str(data),
        "calibration": str(tmp_path / "words.csv"),
    }
    data.write_text("text,label\n" + "".join(f"{text},0\n" for text in texts))
    request = Request(
        **asked, targets=("pretend",), targets_dir=str(write_fake_target(tmp_path / "targets", **USUAL)), lengths=(16,)
    )
    first = api.run(request, out=tmp_path / "labels", command="", launch=inline.launch)
    answers = next(r.scores[0].predictions for r in records(first.path or tmp_path) if r.scores)
    rows = [f"{text},{answer:.0f}\n" for text, answer in zip(texts, answers, strict=True) if answer < 2]
    data.write_text("text,label\n" + "".join(rows))
    int8 = {"latency_seconds": 0.150, "call_noise": 0.01, "error": 1.0}
    result = judge({"int8": int8}, {"int8": {"latency_seconds": 0.200, "error": 0.0}}, **asked)
    (red,) = result.with_verdict("regressed")
    assert (red.case, red.second, result.exit_code) == ("pretend/fake/int8", "confirmed", 1)
    accuracy, latency = red.aspect("accuracy"), red.aspect("latency")
    assert accuracy is not None
    assert accuracy.verdict == "regressed"
    assert latency is not None
    assert latency.verdict == "improved"
    assert "% faster" in red.message
    assert "is below the floor" in red.message


def test_what_is_undecided_is_measured_further_on_both_sides(judge: Judge, tmp_path: Path) -> None:
    edge = {"latency_seconds": 0.200, "round_noise": 0.02}
    otherwise = {"int8": {"latency_seconds": 0.200 / 1.05}}  # right at the limit
    before = judge({"int8": edge}, otherwise, on_unknown="fail")
    assert [case.verdict for case in before.cases] == ["pass", "unknown"]
    assert before.exit_code == 2
    last = max(record.round for record in records(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "first")
    judge({"int8": edge}, otherwise, confirm=False)
    further = [record for record in records(tmp_path / "run") if record.round > last]
    assert {record.case.name for record in further} == {
        "pretend/fake/fp32", "pretend/fake/fp32#2", "pretend/fake/int8", "against:pretend/fake/int8",
    }  # fmt: skip


def test_a_build_that_this_side_cannot_run_is_not_measured_and_says_why(judge: Judge) -> None:
    result = judge({"int8": {"fail": "load"}}, {"int8": {"fail": ""}})
    (case,) = result.with_verdict("not measured")
    assert case.message == "pretend/fake/int8: the fake runtime cannot open this file"
    assert (result.exit_code, result.sentence) == (2, "Failed: 1 of 2 cases not measured.")


@pytest.mark.parametrize("mine", [True, False])
def test_a_build_that_one_side_cannot_make_is_not_measured_and_says_why(
    judge: Judge, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, mine: bool
) -> None:
    from optibench.backends import fake
    from optibench.errors import CaseFailed
    from optibench.values import Artifact, Build

    prepare = fake.prepare

    def prepared(build: Build, cache: Any) -> Artifact:
        if build.precision == "int8" and (build.model.path == str(tiny_bert)) == mine:
            raise CaseFailed("no such layer")
        return prepare(build, cache)

    monkeypatch.setattr(fake, "prepare", prepared)
    result = judge()
    (case,) = result.with_verdict("not measured")
    assert case.message == f"{'' if mine else 'against:'}pretend/fake/int8: no such layer"
    assert result.exit_code == 2


def test_a_build_that_crashes_on_the_other_side_is_not_measured_and_says_why(gate: Gate, older: str) -> None:
    done = gate("--against", older, "--json", "--rounds", "2", code=2, otherwise={"int8": {"fail": "crash"}})
    cases = json.loads(done.stdout, parse_constant=pytest.fail)["cases"]
    (case,) = [case for case in cases if case["verdict"] == "not measured"]
    assert case["message"].startswith("against:pretend/fake/int8: ")
    assert "SIGSEGV" in case["message"]


def test_a_build_that_neither_side_can_make_is_told_and_not_judged(judge: Judge) -> None:
    result = judge({"int8": {"fail": "build"}})
    assert [(case.case, case.verdict) for case in result.cases] == [("pretend/fake/fp32", "pass")]
    assert result.exit_code == 0
    (note,) = [note for note in result.notes if "neither side" in note]
    assert "pretend/fake/int8: the fake exporter cannot trace this model" in note


def test_only_the_cases_that_are_asked_for_are_measured(judge: Judge, tmp_path: Path) -> None:
    result = judge(cases="*/int8")
    assert [case.case for case in result.cases] == ["pretend/fake/int8"]
    assert result.new_cases == ()
    assert {r.case.name for r in records(tmp_path / "run") if not r.case.is_limit} == {
        "pretend/fake/fp32", "pretend/fake/fp32#2", "pretend/fake/int8", "against:pretend/fake/int8",
    }  # fmt: skip


def test_every_format_holds_the_regression(judge: Judge, older: str) -> None:
    from optibench.commands.gate import rendered

    result = judge(otherwise=SLOWER, confirm=False)
    assert "(not confirmed)" in rendered(result, "text")
    found = json.loads(rendered(result, "json"), parse_constant=pytest.fail)
    assert [case["verdict"] for case in found["cases"]] == ["pass", "regressed"]
    assert found["baseline"] == older
    assert rendered(result, "markdown").startswith("## ❌ optibench gate: tiny-bert")
    assert "::error title=optibench gate%3A regressed::pretend/fake/int8 at 1x16" in rendered(result, "github")
    (failure,) = ElementTree.fromstring(rendered(result, "junit")).iter("failure")
    assert "% slower" in (failure.text or "")


# Wrong use


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Give one of --baseline, --against and --against-env"),
        (["--against", "x", "--against-env", "y"], "Give one of --baseline, --against and --against-env"),
        (["--against", "x", "--baseline", "y"], "Give one of --baseline, --against and --against-env"),
        (["--baseline", "b.json", "--dataset", "d.csv"], "says how a MODEL is measured with --against"),
        (["--baseline", "b.json", "--rounds", "9"], "says how a MODEL is measured with --against"),
        (["--baseline", "b.json", "--run-dir", "r"], "says how a MODEL is measured with --against"),
        (["--against", "x", "--allow-different-hardware"], "--allow-different-hardware goes with --baseline"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_use(
    optibench: Optibench, tmp_path: Path, args: list[str], says: str
) -> None:
    done = optibench("gate", "model", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--against", "v1.0", "has no revision 'v1.0'"),
        ("--against", "./nowhere", "no model at ./nowhere"),
        ("--against", "../no-export", "no-export"),
        ("--against", "onnxruntime==1.0", "use none of the packages that are pinned"),
        ("--against-env", "../no-export", "is no virtual environment"),
        ("--against-env", "old.txt", "There is no file or folder old.txt"),
    ],
)
def test_another_side_that_cannot_be_is_said_and_leaves_nothing(
    gate: Gate, tmp_path: Path, option: str, value: str, says: str
) -> None:
    (tmp_path / "no-export").mkdir()
    (tmp_path / "no-export" / "notes.txt").write_text("nothing that optibench wrote")
    done = gate(option, value, code=2)
    assert says in " ".join(done.stderr.split())
    assert left_in(tmp_path / "here") == []


def test_a_pattern_that_no_case_is_like_is_said_before_anything_is_measured(
    gate: Gate, older: str, tmp_path: Path
) -> None:
    said = gate("--against", older, "--cases", "cuda/*", code=2).stderr
    assert "No case is named like 'cuda/*'. It would be: pretend/fake/fp32, pretend/fake/int8." in said
    assert left_in(tmp_path / "here") == []


def test_two_revisions_of_a_hub_model_take_turns_in_one_run(
    optibench: Optibench, tiny_bert: Path, older: str, tmp_path: Path
) -> None:
    targets = write_fake_target(tmp_path / "targets", **USUAL)
    with Hub() as hub:
        first = hub.put("user/model", {path.name: path.read_bytes() for path in Path(older).iterdir()})
        hub.repo("user/model").tags["v0"] = first
        second = hub.put("user/model", {path.name: path.read_bytes() for path in tiny_bert.iterdir()})
        there = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
        done = optibench(
            *("gate", "user/model", "--against", "v0", "--run-dir", "run", "--rounds", "2", "--length", "16"),
            *("--on-unknown", "pass", "--targets", "pretend", "--targets-dir", targets),
            env={**there, "HF_HUB_DISABLE_XET": "1"}, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {record.case.variant: record.model for record in records(tmp_path / "run")}
    assert (found[""].revision, found["against"].revision) == (second, first)
    assert found[""].weights_sha256 != found["against"].weights_sha256
    assert "The model's revision differs: new weights." in done.stdout


def test_a_revision_that_the_hub_does_not_have_is_said(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("gate", "someone/model", "--against", "v9", cwd=tmp_path)
    assert done.returncode == 2
    assert "someone/model" in done.stderr
    assert left_in(tmp_path) == []


def test_python_holds_a_model_against_another_and_refuses_what_it_does_not_know(
    tiny_bert: Path, older: str, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    targets = write_fake_target(tmp_path / "targets", against=SLOWER, **USUAL)
    asked: dict[str, Any] = {"targets": "pretend", "targets_dir": targets, "lengths": [16], "out": tmp_path / "run"}
    result = package.gate_against(tiny_bert, older, max_slowdown=0.5, rounds=2, **asked)
    assert result.passed
    latency = result.cases[1].aspect("latency")
    assert latency is not None
    assert latency.change == pytest.approx(0.2, abs=0.03)
    with pytest.raises(OptibenchError, match="Against what"):
        package.gate_against(tiny_bert)
    with pytest.raises(OptibenchError, match="bakends"):
        package.gate_against(tiny_bert, older, bakends=["fake"])


@pytest.mark.slow
def test_a_real_model_is_held_against_its_own_export(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    assert optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", tmp_path / "old").returncode == 0
    done = optibench(
        "gate", tiny_bert, "--against", tmp_path / "old", "--budget", "20s", "--length", "16", "--max-slowdown", "500%",
        "--max-memory-growth", "500%", "--on-unknown", "pass", "--json", "--run-dir", tmp_path / "run",
    )  # fmt: skip
    found = json.loads(done.stdout)
    (case,) = found["cases"]
    assert case["case"] == "cpu/onnxruntime/fp32"
    assert case["verdict"] in ("pass", "improved", "unknown")  # unknown: a machine too busy for a round to count
    size = next(aspect for aspect in case["aspects"] if aspect["name"] == "size")
    assert size["change"] == 0
    assert found["new_cases"] == []
