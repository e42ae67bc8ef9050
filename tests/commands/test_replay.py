"""`optibench replay` as a user runs it, on the fake backend; and through a Hub on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from optibench import replay_run, side_by_side
from optibench.errors import OptibenchError
from optibench.strict_json import sealed_json, strict_json
from optibench.values import Record, Score
from tests.conftest import Optibench, write_fake_target
from tests.factories import comparison, host, interval, record
from tests.hub.server import Hub
from tests.kept import INT8, REFERENCE, records_of

FakeTarget = Callable[..., Path]
ROUNDS = ("--rounds", "3", "--length", "16")


@pytest.fixture(scope="module")
def made(optibench: Optibench, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a target and a finished run of the fake backend: one case ran, one failed."""
    home = tmp_path_factory.mktemp("made")
    shutil.copytree(tiny_bert, home / "model")
    targets = write_fake_target(home / "targets", bf16={"fail": "error"})
    done = optibench(
        "compare", home / "model", "--targets", "pretend", "--targets-dir", targets, "--out", home / "run", *ROUNDS
    )
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The same as a folder of the test's own, to be moved or spoilt."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    plan = tmp_path / "run" / "plan.json"
    plan.write_text(plan.read_text().replace(str(made), str(tmp_path)))
    return tmp_path / "run"


@pytest.fixture
def model(run: Path) -> Path:
    """The model that ``run`` measured."""
    return run.parent / "model"


def replayed(optibench: Optibench, run: Path, out: Path, *more: Any) -> subprocess.CompletedProcess[str]:
    return optibench("replay", run, "--out", out, *more)


def found_in(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "replay.json").read_text())
    return found


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit_records(run: Path, edit: Callable[[Record], Record]) -> None:
    lines = (run / "records.jsonl").read_bytes().splitlines()
    edited = [sealed_json(edit(msgspec.json.decode(line, type=Record))) for line in lines]
    (run / "records.jsonl").write_bytes(b"\n".join(edited) + b"\n")


def test_a_run_is_measured_again_beside_it_and_is_not_touched(optibench: Optibench, run: Path, tmp_path: Path) -> None:
    before = files(run)
    done = replayed(optibench, run, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert files(run) == before
    found = found_in(tmp_path / "again")
    cases = {case["case"]: case for case in found["cases"]}
    assert set(cases) == {"pretend/fake/fp32", "pretend/fake/int8"}
    assert cases["pretend/fake/fp32"]["verdict"] == "reference"
    assert cases["pretend/fake/int8"]["ratio"]["low"] <= 1 <= cases["pretend/fake/int8"]["ratio"]["high"]
    assert cases["pretend/fake/int8"]["same_artifact"]
    assert cases["pretend/fake/int8"]["same_answers"]
    assert "gave up" in found["not_again"]["pretend/fake/bf16"]
    assert all(check["fine"] for check in found["checks"])
    assert found["machine_changes"] == found["software_changes"] == []
    lines = (tmp_path / "again" / "records.jsonl").read_text().splitlines()
    assert len([line for line in lines if '"backend":"limits"' not in line]) == 9
    for words in ("then", "now / then", "2.5", "pretend/fake/int8 at 1×16"):
        assert words in done.stdout


def test_a_case_that_became_slower_is_called_so_and_the_changed_target_is_named(
    optibench: Optibench, run: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    fake_target(int8={"latency_seconds": 0.006, "error": 0.01}, bf16={"fail": "error"})
    done = replayed(optibench, run, tmp_path / "again", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    pair = next(case for case in found["cases"] if case["case"] == "pretend/fake/int8")
    assert pair["verdict"] == "slower"
    assert pair["ratio"]["low"] < 4 / 6 < pair["ratio"]["high"]
    check = next(check for check in found["checks"] if check["what"] == "target pretend")
    assert not check["fine"]
    assert "options" in check["said"]


def test_a_bundle_is_replayed_as_its_run_is(optibench: Optibench, run: Path, tmp_path: Path) -> None:
    assert optibench("bundle-run", run, "--out", tmp_path / "run.optibench.zip").returncode == 0
    shutil.rmtree(run)
    done = replayed(optibench, tmp_path / "run.optibench.zip", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert len(found_in(tmp_path / "again")["cases"]) == 2


def test_the_packages_of_then_are_written_as_constraints_and_what_differs_here_is_told(
    optibench: Optibench, run: Path, tmp_path: Path
) -> None:
    def older(one: Record) -> Record:
        packages = {**one.host.packages, "onnxruntime": "1.20.0", "torch": "2.1.0+cu118"}
        return msgspec.structs.replace(
            one, host=msgspec.structs.replace(one.host, packages=packages, cpu_model="Old Processor")
        )

    edit_records(run, older)
    done = replayed(optibench, run, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "again" / "constraints.txt").read_text().splitlines()
    assert "onnxruntime==1.20.0" in lines
    assert "torch==2.1.0  # 2.1.0+cu118" in lines
    assert not any(line.startswith("optibench") for line in lines)
    assert "onnxruntime 1.20.0 -> " in done.stdout
    assert "processor Old Processor -> " in done.stdout


def test_a_last_line_that_was_cut_off_is_dropped_with_a_warning(
    optibench: Optibench, run: Path, tmp_path: Path
) -> None:
    (run / "records.jsonl").write_bytes((run / "records.jsonl").read_bytes()[:-60])
    done = replayed(optibench, run, tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "was cut off while it was written" in done.stdout


def test_a_hand_edited_figure_is_said(optibench: Optibench, run: Path, tmp_path: Path) -> None:
    found = json.loads((run / "comparison.json").read_text())
    found["cases"][1]["speedup"]["mid"] *= 1.2
    (run / "comparison.json").write_text(json.dumps(found))
    done = replayed(optibench, run, tmp_path / "again")
    assert "comparison.json: DIFFERS: does not follow from the records" in done.stdout
    assert "pretend/fake/int8 at 1x16" in done.stdout


# What is gone, changed or not allowed


def test_a_local_model_that_changed_is_refused_with_both_digests(
    optibench: Optibench, run: Path, model: Path, tmp_path: Path
) -> None:
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    said = refused(replayed(optibench, run, tmp_path / "again"))
    assert "is not the one that was measured: its weights was" in said
    assert not (tmp_path / "again").exists()


def test_a_local_model_that_is_gone_is_said_and_found_where_it_lies_now(
    optibench: Optibench, run: Path, model: Path, tmp_path: Path
) -> None:
    model.rename(tmp_path / "elsewhere")
    assert "--model where it lies now" in refused(replayed(optibench, run, tmp_path / "again"))
    done = replayed(optibench, run, tmp_path / "again", "--model", tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr


def test_what_the_user_allowed_then_must_be_allowed_anew(optibench: Optibench, run: Path, tmp_path: Path) -> None:
    plan = json.loads((run / "plan.json").read_text())
    plan["plan"]["request"]["trust_remote_code"] = True
    (run / "plan.json").write_text(json.dumps(plan))
    assert "Give --trust-remote-code again" in refused(replayed(optibench, run, tmp_path / "again"))


def test_targets_are_this_machines_own_and_one_that_is_not_known_is_named(
    optibench: Optibench, run: Path, tmp_path: Path
) -> None:
    plan = json.loads((run / "plan.json").read_text())
    plan["plan"]["targets"][0]["env"] = {"LD_PRELOAD": "/tmp/evil.so"}
    plan["plan"]["request"]["targets_dir"] = None
    (run / "plan.json").write_text(json.dumps(plan))
    assert "Unknown target 'pretend'" in refused(replayed(optibench, run, tmp_path / "again"))
    done = replayed(optibench, run, tmp_path / "again", "--targets-dir", tmp_path / "targets")
    assert done.returncode == 0, done.stderr
    assert "LD_PRELOAD" not in (tmp_path / "again" / "plan.json").read_text()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "plan.json").unlink(), "has no plan.json"),
        (lambda run: (run / "plan.json").write_text("{"), "cannot be read"),
        (lambda run: (run / "plan.json").write_text('{"plan": {}}'), "made by another version"),
        (lambda run: (run / "records.jsonl").write_text(""), "Nothing was measured"),
        (lambda run: (run / "records.jsonl").write_bytes(strict_json(record(schema=7)) + b"\n"), "has schema 7"),
        (lambda run: edit_records(run, lambda r: msgspec.structs.replace(r, workload=record().workload)), "edited"),
        (
            lambda run: edit_records(
                run,
                lambda r: msgspec.structs.replace(r, measurement=None, status="skipped", reason="no driver"),
            ),
            "Nothing was measured",
        ),
        (
            lambda run: edit_records(
                run, lambda r: msgspec.structs.replace(r, host=host(packages={"a\nb @ http://x": "1"}))
            ),
            "it was edited",
        ),
    ],
)
def test_a_run_that_cannot_be_replayed_says_why_and_leaves_nothing_behind(
    optibench: Optibench, run: Path, tmp_path: Path, spoil: Callable[[Path], Any], words: str
) -> None:
    spoil(run)
    assert words in refused(replayed(optibench, run, tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_a_place_without_a_run_is_said(optibench: Optibench, tmp_path: Path) -> None:
    assert "does not exist" in refused(replayed(optibench, tmp_path / "nowhere", tmp_path / "again"))
    assert "has no run in it" in refused(replayed(optibench, tmp_path, tmp_path / "again"))


def test_a_run_is_never_replayed_into_a_folder_that_holds_one(optibench: Optibench, run: Path) -> None:
    before = files(run)
    assert "already holds a run" in refused(replayed(optibench, run, run))
    assert files(run) == before


def test_a_replay_in_which_nothing_runs_ends_with_3(
    optibench: Optibench, run: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    fake_target(fp32={"fail": "load"}, int8={"fail": "load"})
    done = replayed(optibench, run, tmp_path / "again")
    assert done.returncode == 3
    assert "Nothing could be measured" in done.stderr


def test_a_hub_model_is_fetched_again_at_its_commit(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    with Hub() as hub:
        commit = hub.put("user/encoder", {path.name: path.read_bytes() for path in tiny_bert.iterdir()})
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        done = optibench(
            "compare", "user/encoder", "--task", "feature-extraction", "--targets", "pretend", "--targets-dir",
            fake_target(), "--out", tmp_path / "run", *ROUNDS, env={**env, "HF_HOME": str(tmp_path / "one")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        hub.asked.clear()
        done = optibench(
            "replay", tmp_path / "run", "--out", tmp_path / "again", env={**env, "HF_HOME": str(tmp_path / "two")}
        )
        assert done.returncode == 0, done.stderr
        assert any(path.endswith(f"/revision/{commit}") for path, _ in hub.asked)
    assert found_in(tmp_path / "again")["model"]["revision"] == commit


# Side by side, from records alone


def scored(records: list[Record], predictions: tuple[float, ...], task: str = "text-classification") -> list[Record]:
    labels = tuple(float(n % 2) for n in range(len(predictions)))
    value = sum(p == label for p, label in zip(predictions, labels, strict=True)) / len(labels)
    score = Score(metric="accuracy", value=value, count=len(labels), predictions=predictions, labels=labels)
    model = msgspec.structs.replace(records[0].model, task=task)
    return [msgspec.structs.replace(r, model=model, scores=(score,), answers_sha256="a" * 64) for r in records]


@pytest.mark.parametrize(
    ("then", "now", "verdict"), [(3.0, 3.0, "same"), (3.0, 2.7, "slower"), (3.0, 3.4, "faster"), (3.0, 2.95, "unknown")]
)
def test_each_case_gets_the_verdict_of_its_two_speedups(then: float, now: float, verdict: str) -> None:
    noise = 0.012 if verdict == "unknown" else 0.005
    old = records_of({INT8: then}, day=1, noise=noise)
    new = records_of({INT8: now}, day=2, slow=1.5, noise=noise)
    reference, pair = side_by_side.pairs(old, new, [REFERENCE, INT8])
    assert reference.verdict == "reference"
    assert pair.verdict == verdict
    assert pair.ratio is not None
    assert pair.ratio.low < now / then < pair.ratio.high


def test_a_change_of_score_has_its_paired_interval_and_other_data_have_none() -> None:
    old = scored(records_of({INT8: 3.0}), tuple(float(n % 2) for n in range(200)))
    new = scored(records_of({INT8: 3.0}, day=1), tuple(float(n % 2 if n % 10 else 9) for n in range(200)))
    (pair,) = side_by_side.pairs(old, new, [INT8])
    assert pair.score_change is not None
    assert pair.score_change.mid == pytest.approx(-0.1)
    assert pair.score_change.high < 0
    other = [msgspec.structs.replace(r, dataset=None) for r in new]
    (pair,) = side_by_side.pairs(old, other, [INT8])
    assert pair.score_now == pytest.approx(0.9)
    assert pair.score_change is None


def test_a_score_that_does_not_follow_from_its_answers_is_said() -> None:
    records = scored(records_of({INT8: 3.0}), tuple(float(n % 2) for n in range(20)))
    assert all(check.fine for check in side_by_side.record_checks(records, None) if check.what == "scores")
    edited = [msgspec.structs.replace(r, scores=(msgspec.structs.replace(r.scores[0], value=0.7),)) for r in records]
    (check,) = (check for check in side_by_side.record_checks(edited, comparison()) if check.what == "scores")
    assert not check.fine
    assert "accuracy 0.7, its answers give 1" in check.said


def test_a_run_whose_twins_differed_is_not_to_be_trusted() -> None:
    fine = comparison()
    off = msgspec.structs.replace(fine, noise=msgspec.structs.replace(fine.noise, aa_ratio=interval(1.1, 0.02)))
    assert list(side_by_side.distrusted(fine, fine)) == []
    (said,) = side_by_side.distrusted(off, fine)
    assert "The A/A check of then failed" in said


def test_constraints_hold_nothing_that_pip_would_read_otherwise() -> None:
    with pytest.raises(OptibenchError, match="edited"):
        replay_run.constraints_from_host(host(packages={"numpy": "2.0\n--index-url http://evil"}))
    text = replay_run.constraints_from_host(host(python="3.11\nevil==1", packages={"numpy": "2.4.6"}))
    assert text.splitlines()[1:] == ["numpy==2.4.6"]
