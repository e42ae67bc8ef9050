"""The pytest plugin, as a suite of somebody's own uses it: each test here runs pytest in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optibench.errors import OptibenchError
from optibench.yardstick import in_turns, yardstick
from tests.conftest import Optibench

FakeTarget = Callable[..., Path]

MODEL_TEST = """
def test_encoder(optibench):
    optibench.assert_not_slower({model!r}, backend="fake", baseline="baseline.json", targets_dir={targets!r}, rounds=3,
                                budget_seconds=90.0, confirm=False)
"""
FUNCTION_TEST = """
def test_sum(optibench):
    assert len(optibench.in_turns(lambda: sum(range({size})), rounds=5, blocks=8)) == 5
"""


def pytest_in(folder: Path, text: str, *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *args]
    # Under xdist a pytest inside would take itself for a worker, and pytest-benchmark would measure nothing; where it
    # finds itself in CI it repeats a failure's whole message in its summary.
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST") and k not in ("CI", "BUILD_NUMBER")}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def suite(optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path) -> str:
    """A test of a model's speed, in tmp_path, beside a baseline that was measured before."""
    targets = fake_target()
    done = optibench(
        "compare", tiny_bert, "--targets", "pretend", "--targets-dir", targets, "--out", tmp_path / "run",
        "--rounds", "3", "--budget", "90s", "--length", "16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert optibench("baseline", "save", tmp_path / "run", "--out", tmp_path / "baseline.json").returncode == 0
    return MODEL_TEST.format(model=str(tiny_bert), targets=str(targets))


def test_a_model_as_fast_as_its_baseline_passes_and_lands_in_pytest_benchmarks_json(suite: str, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, suite, "--benchmark-json=bench.json")
    assert done.returncode == 0, done.stdout
    found = {b["name"]: b["stats"] for b in json.loads((tmp_path / "bench.json").read_text())["benchmarks"]}
    assert {"test_encoder[pretend/fake/fp32 at 1x16]", "test_encoder[pretend/fake/int8 at 1x16]"} <= found.keys()
    # By its own virtual clock 16 of 128 tokens at 4 ms, as fake targets are written.
    assert 0.0004 < found["test_encoder[pretend/fake/int8 at 1x16]"]["median"] < 0.0006
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "bench.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "test_encoder[pretend/fake/int8 at 1x16]" in compared.stdout, compared.stderr


def test_a_model_slower_than_its_baseline_fails_with_the_gates_report(
    suite: str, fake_target: FakeTarget, tmp_path: Path
) -> None:
    fake_target(int8={"latency_seconds": 0.006, "error": 0.01})
    done = pytest_in(tmp_path, suite)
    assert done.returncode == 1
    assert "pretend/fake/int8" in done.stdout
    assert re.search(r"(4[789]|5[0123])(\.\d)?% slower", done.stdout)
    assert "Traceback" not in done.stdout


def test_a_missing_baseline_and_a_backend_that_it_lacks_fail_with_what_to_do(suite: str, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, suite.replace('backend="fake"', 'backend="openvino"'))
    assert "has no case of openvino. It has: pretend/fake/fp32, pretend/fake/int8" in done.stdout
    (tmp_path / "baseline.json").unlink()
    assert "optibench baseline save RUN --out baseline.json" in pytest_in(tmp_path, suite).stdout


def test_a_limit_that_cannot_be_is_told_before_anything_is_measured_and_once(suite: str, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, suite.replace("rounds=3", "max_slowdown=500.0"))
    assert "--max-slowdown takes 0% to" in done.stdout
    assert "round 1" not in done.stdout + done.stderr
    done = pytest_in(tmp_path, suite.replace('"baseline.json"', '"."'))
    assert done.stdout.count("expected a run's folder") == 1
    assert "another exception" not in done.stdout


XDIST_TESTS = """
import time
def measured(optibench, name):
    def function():
        times.append(time.time())
    times = []
    optibench.in_turns(function, rounds=2, blocks=30)
    with open(name, "w") as file:
        file.write(f"{times[0]} {times[-1]}")
def test_one(optibench):
    measured(optibench, "one")
def test_two(optibench):
    measured(optibench, "two")
"""


def test_under_xdist_one_process_measures_at_a_time_and_nothing_is_warned_of(tmp_path: Path) -> None:
    done = pytest_in(tmp_path, XDIST_TESTS, "-n", "2")
    assert done.returncode == 0, done.stdout
    assert "was not used" not in done.stdout
    spans = sorted([float(one) for one in (tmp_path / name).read_text().split()] for name in ("one", "two"))
    assert spans[0][1] <= spans[1][0]


def test_two_functions_of_one_test_are_two_in_the_json(tmp_path: Path) -> None:
    text = "def test_it(optibench):\n    for size in (1, 1000):\n"
    text += "        optibench.in_turns(lambda: sum(range(size)), rounds=1, blocks=1)\n"
    done = pytest_in(tmp_path, text, "--benchmark-json=b.json")
    assert done.returncode == 0, done.stdout
    found = json.loads((tmp_path / "b.json").read_text())["optibench"]["cases"]
    assert [one["case"] for one in found if "test_it" in one["case"]] == [
        "test_it.py::test_it",
        "test_it.py::test_it (2)",
    ]


def test_a_function_is_timed_in_one_round_at_least() -> None:
    with pytest.raises(OptibenchError, match="one round of one block at least, not 0 of 5"):
        in_turns(yardstick, rounds=0, blocks=5)


def test_functions_are_gated_by_what_pytest_benchmark_wrote(optibench: Optibench, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, FUNCTION_TEST.format(size=20_000), "--benchmark-json=old.json")
    assert done.returncode == 0, done.stdout
    assert optibench("baseline", "save", "old.json", "--out", "base.json", cwd=tmp_path).returncode == 0
    assert "(graph), measured 20" in optibench("baseline", "show", "base.json", cwd=tmp_path).stdout  # of no revision
    pytest_in(tmp_path, FUNCTION_TEST.format(size=80_000), "--benchmark-json=new.json")
    slower = optibench("gate", "new.json", "--baseline", "base.json", "--no-confirm", cwd=tmp_path)
    assert slower.returncode == 1, slower.stdout + slower.stderr
    assert "test_sum" in slower.stdout
    alleged = optibench("gate", "new.json", "--baseline", "base.json", cwd=tmp_path)
    assert alleged.returncode == 2
    assert "only a run's folder can be measured further" in alleged.stdout
    # Twice as slow would be allowed: the same file then passes, on however slow a machine.
    assert (
        optibench("gate", "old.json", "--baseline", "base.json", "--max-slowdown", "100%", cwd=tmp_path).returncode == 0
    )


def test_pytest_benchmarks_json_without_our_part_is_no_run(optibench: Optibench, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"benchmarks": [], "machine_info": {}}')
    done = optibench("gate", "bench.json", "--baseline", "bench.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not a baseline" in done.stderr


def test_a_function_that_is_the_yardstick_itself_measures_as_one() -> None:
    measured = in_turns(yardstick, rounds=3, blocks=5)
    assert all(abs(one.log_ratio) < 0.7 for one in measured)  # a factor of two, on a machine however busy
    assert all(one.seconds and min(one.seconds) > 0 for one in measured)


def test_an_environment_without_pytest_benchmark_judges_all_the_same(suite: str, tmp_path: Path) -> None:
    done = pytest_in(tmp_path, suite, "-p", "no:benchmark")
    assert done.returncode == 0, done.stdout
