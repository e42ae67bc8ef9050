"""A run on a node of a Ray cluster: what is sent there, and a real one on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from optibench.execute import ray as there
from tests.conftest import Optibench

FakeTarget = Callable[..., Path]


def test_what_is_this_machines_stays_here() -> None:
    typed = [
        "compare",
        "minilm",
        "--execute",
        "ray:head:6379",
        "--out=run",
        "--json",
        "--quick",
        "--out",
        "x",
        "--seed=3",
    ]
    assert there.arguments_there(typed) == ["compare", "minilm", "--quick", "--seed=3"]


def test_a_place_that_is_not_known_is_refused(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    done = optibench("compare", tiny_bert, "--execute", "moon", cwd=tmp_path)
    assert done.returncode == 2
    assert "here or ray[:ADDRESS]" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_node_runs_the_command_and_sends_its_folder_back(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    run = tmp_path / "run"
    command = ("compare", tiny_bert, "--targets", "pretend", "--targets-dir", fake_target(), "--length", "16")
    done = optibench(*command, "--rounds", "2", "--execute", "ray", "--out", run, "--json", timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reference"] == "pretend/fake/fp32"
    assert {"records.jsonl", "comparison.json", "report.md", "logs"} <= {path.name for path in run.iterdir()}
    wrong = optibench(*command, "--dataset", "none.csv", "--execute", "ray", "--out", tmp_path / "bad", timeout=300)
    assert wrong.returncode == 2
    assert "There is no data file none.csv" in wrong.stderr
    assert not (tmp_path / "bad").exists()
