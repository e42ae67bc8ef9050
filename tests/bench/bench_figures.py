"""Figures of speed and size, measured side by side where two are compared. Nothing here is a verdict: the figures are
kept in reports/bench and read by people. ``tox -e bench``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trust.real import neighbour

MEASURED = """
import json, resource, sys, time
from optibench import cli, pipeline, turns
spent = {"rounds": 0.0, "blocks_wall": 0.0, "blocks_cpu": 0.0}
def timed(module, name, wall, cpu=None):
    old = getattr(module, name)
    def call(*args, **kwargs):
        w, c = time.perf_counter(), time.process_time()
        try:
            return old(*args, **kwargs)
        finally:
            spent[wall] += time.perf_counter() - w
            if cpu:
                spent[cpu] += time.process_time() - c
    setattr(module, name, call)
timed(pipeline, "run_round", "rounds")
timed(turns, "run_blocks", "blocks_wall", "blocks_cpu")
start = time.perf_counter()
try:
    cli.main()
except SystemExit as error:
    spent.update(wall=time.perf_counter() - start, code=error.code)
print("SPENT", json.dumps(spent), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def run(cache: Path, *args: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A comparison, and where the parent spent its time."""
    code = f"import sys; sys.argv = ['optibench', *{list(args)!r}]\n{MEASURED}"
    env = {**os.environ, "OPTIBENCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    spent = json.loads(done.stderr.rpartition("SPENT ")[2])
    return json.loads(done.stdout), spent


@pytest.mark.parametrize("args", [["--help"], ["targets"], ["backends"], ["compair"]], ids=lambda args: args[0])
def test_commands_that_must_feel_instant(benchmark: Any, args: list[str]) -> None:
    command = [str(Path(sys.executable).parent / "optibench"), *args]
    benchmark.pedantic(lambda: subprocess.run(command, capture_output=True), rounds=15, warmup_rounds=2)


def test_the_main_job_from_an_empty_cache_and_again(benchmark: Any, cache: Path, folder: Path) -> None:
    def both() -> None:
        first, spent = run(cache, "compare", "minilm", "--targets", "cpu", "--json", "--out", str(folder / "first"))
        benchmark.extra_info["first_wall_seconds"] = round(spent["wall"], 1)
        _, again = run(cache, "compare", "minilm", "--targets", "cpu", "--json", "--out", str(folder / "again"))
        benchmark.extra_info["again_wall_seconds"] = round(again["wall"], 1)
        benchmark.extra_info["again_share_in_workers"] = round(again["rounds"] / again["wall"], 3)
        benchmark.extra_info["parent_share_of_a_core_while_waiting"] = round(
            again["blocks_cpu"] / again["blocks_wall"], 4
        )
        for case in first["cases"]:
            benchmark.extra_info[case["case"]] = {
                "speedup": round(case["speedup"]["mid"], 2),
                "verdict": case["verdict"],
                "cold_start_seconds": round(case["cold_start_seconds"], 2),
                "peak_memory_megabytes": round(case["peak_memory_bytes"] / 1e6),
            }

    benchmark.pedantic(both, rounds=1)


def test_speed_ups_beside_a_neighbour_that_burns_a_core_a_third_of_the_time(
    benchmark: Any, cache: Path, folder: Path
) -> None:
    command = ("compare", "minilm", "--backends", "onnxruntime,openvino", "--precisions", "fp32,int8", "--json")

    def both() -> None:
        quiet, _ = run(cache, *command, "--out", str(folder / "quiet"))
        with neighbour():
            noisy, _ = run(cache, *command, "--out", str(folder / "noisy"))
        benchmark.extra_info["disturbed_share"] = {
            "quiet": round(quiet["noise"]["disturbed_share"], 3),
            "noisy": round(noisy["noise"]["disturbed_share"], 3),
        }
        benchmark.extra_info["slow_share"] = {
            "quiet": round(quiet["noise"]["slow_share"], 3),
            "noisy": round(noisy["noise"]["slow_share"], 3),
        }
        for mine, theirs in zip(noisy["cases"], quiet["cases"], strict=True):
            if mine["speedup"] and theirs["speedup"]:
                benchmark.extra_info[mine["case"]] = {
                    "quiet": round(theirs["speedup"]["mid"], 3),
                    "noisy": round(mine["speedup"]["mid"], 3),
                    "ratio": round(mine["speedup"]["mid"] / theirs["speedup"]["mid"], 3),
                }

    benchmark.pedantic(both, rounds=1)
