"""`optibench gate` as a CI job runs it: on the fake backend, whose latencies are known."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import optibench as package
from tests.conftest import Optibench

FakeTarget = Callable[..., Path]
Measure = Callable[..., Path]


@pytest.fixture
def measure(optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path) -> Measure:
    """Runs the comparison on a machine of known speed and gives its folder: ``measure("new", int8={...})``."""

    def run(name: str, **behaviour: dict[str, object]) -> Path:
        done = optibench(
            "compare", tiny_bert, "--targets", "pretend", "--targets-dir", fake_target(**behaviour), "--out",
            tmp_path / name, "--rounds", "3", "--budget", "5s", "--length", "16",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path / name

    return run


def slower(factor: float) -> dict[str, object]:
    return {"latency_seconds": 0.004 * factor, "error": 0.01}


def gated(optibench: Optibench, *args: object, code: int, **more: object) -> subprocess.CompletedProcess[str]:
    done = optibench("gate", *args, **more)  # type: ignore[arg-type]  # cwd and env, as they come
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def test_unchanged_code_passes_against_a_run_and_against_its_saved_file(
    optibench: Optibench, measure: Measure, tmp_path: Path
) -> None:
    old, new = measure("old"), measure("new")
    assert "Passed" in gated(optibench, new, "--baseline", old, code=0).stdout
    saved = optibench("baseline", "save", old, cwd=tmp_path)
    file = tmp_path / "reports" / "baselines" / "tiny-bert.json"
    assert str(file.relative_to(tmp_path)) in saved.stdout
    assert "Passed" in gated(optibench, new, "--baseline", file, code=0).stdout


def test_a_planted_slowdown_is_confirmed_by_a_second_measurement_and_fails(
    optibench: Optibench, measure: Measure, tmp_path: Path
) -> None:
    old, new = measure("old"), measure("new", int8=slower(1.2))
    done = gated(optibench, new, "--baseline", old, code=1)
    assert "1 of 2 cases regressed, confirmed by a second measurement" in done.stdout
    assert "20% slower" in done.stdout
    again = tmp_path / "new-again"
    assert len({json.loads(line)["round"] for line in (again / "records.jsonl").read_text().splitlines()}) == 3
    assert package.load(again).comparison.reference == "pretend/fake/fp32"


def test_a_slower_machine_alone_is_no_regression(optibench: Optibench, measure: Measure) -> None:
    old, new = measure("old"), measure("new", fp32={"latency_seconds": 0.020}, int8=slower(2))
    assert "Passed" in gated(optibench, new, "--baseline", old, code=0).stdout


def test_a_regression_that_a_fresh_measurement_does_not_find_is_none(
    optibench: Optibench, measure: Measure, tmp_path: Path
) -> None:
    old, new = measure("old"), measure("new", int8=slower(1.2))
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
    done = optibench("gate", new, "--baseline", old)
    added = [json.loads(line) for line in (new / "records.jsonl").read_text()[len(before) :].splitlines()]
    assert {record["case"]["precision"] for record in added} == {"fp32", "int8"}
    assert {record["round"] for record in added} >= {4}
    assert "undecided, so measured further: pretend/fake/int8" in done.stderr
    assert package.load(new).comparison.workload.rounds == max(record["round"] for record in added)
