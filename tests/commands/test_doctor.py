"""`optibench doctor` as a user runs it, and its findings in a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from optibench.values import Finding
from tests.conftest import Optibench

WRONG_THREADS = {"OMP_NUM_THREADS": "77"}


def test_what_is_not_fine_stands_first_with_its_cost_and_what_to_do(optibench: Optibench) -> None:
    done = optibench("doctor", env=WRONG_THREADS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    marks = [line[:2] for line in lines if line[:2] in ("!!", "ok")]
    assert marks == sorted(marks)  # "!!" sorts before "ok"
    told = next(number for number, line in enumerate(lines) if line.startswith("!!  thread counts: OMP_NUM_THREADS=77"))
    assert "whatever OMP_" in lines[told + 1]
    assert "unset OMP_NUM_THREADS" in lines[told + 2]
    assert re.fullmatch(rf"{len(marks)} checks, {marks.count('!!')} not fine\.", lines[-1])


def test_json_is_all_that_is_printed_and_holds_findings(optibench: Optibench) -> None:
    done = optibench("doctor", "--json", env=WRONG_THREADS)
    assert done.returncode == 0, done.stderr
    found = msgspec.convert(json.loads(done.stdout), list[Finding])
    assert not next(finding for finding in found if finding.name == "thread counts").fine
    assert [finding.fine for finding in found] == sorted(finding.fine for finding in found)


def test_strict_exits_1_if_anything_is_not_fine_and_only_then(optibench: Optibench) -> None:
    assert optibench("doctor", "--strict", env=WRONG_THREADS).returncode == 1
    done = optibench("doctor", "--strict", "--json")
    assert done.returncode == int(any(not finding["fine"] for finding in json.loads(done.stdout)))


def test_wrong_use_is_2(optibench: Optibench) -> None:
    assert optibench("doctor", "now").returncode == 2


def test_what_the_environment_says_is_shown_and_not_obeyed(optibench: Optibench) -> None:
    done = optibench("doctor", env={"OPENBLAS_CORETYPE": "\x1b[31mred"})
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mred" in done.stdout


def test_every_record_of_a_run_and_its_comparison_hold_the_findings(
    optibench: Optibench, tiny_bert: Path, fake_target: Callable[..., Path], tmp_path: Path
) -> None:
    run, folder = tmp_path / "run", fake_target(int8={"fail": "build"})
    done = optibench(
        "compare", tiny_bert, "--targets", "pretend", "--targets-dir", folder, "--out", run,
        "--rounds", "2", "--budget", "5s", "--length", "16", env=WRONG_THREADS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    assert {record["status"] for record in records} == {"ok", "failed"}
    for record in records:
        found = {finding["name"]: finding for finding in record["findings"]}
        assert found["thread counts"]["found"].startswith("OMP_NUM_THREADS=77")
        assert found["clock source"]["found"]
    comparison = json.loads((run / "comparison.json").read_text())
    assert {finding["name"] for finding in comparison["findings"]} == set(found)
    for report in (done.stdout, (run / "report.md").read_text().replace("\\_", "_")):
        warnings = report.partition("Warnings")[2]
        assert "Thread counts: OMP_NUM_THREADS=77" in warnings
        assert "Clock source" not in warnings
