"""Figures of speed and size, measured side by side where two are compared. Nothing here is a verdict: the figures are
kept in reports/bench and read by people. ``tox -e bench``."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import models, plugins, targets, worker
from optibench.build import Workshop
from optibench.cache import Cache
from optibench.execute.process import ProcessLane
from optibench.host import describe
from optibench.plan import Request, plan_of
from optibench.values import Case, Job

HERE = Path(__file__).parent
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


@pytest.fixture(scope="module")
def neighbour() -> Iterator[Any]:
    """Starts a process that burns a core for 1.5 of every 4.5 seconds."""
    burn = "import time\nwhile True:\n    e = time.time() + 1.5\n    while time.time() < e: pass\n    time.sleep(3)"
    started: list[subprocess.Popen[bytes]] = []
    yield lambda: started.append(subprocess.Popen([sys.executable, "-c", burn]))
    for process in started:
        process.kill()


def test_speed_ups_beside_a_neighbour_that_burns_a_core_a_third_of_the_time(
    benchmark: Any, cache: Path, folder: Path, neighbour: Any
) -> None:
    command = ("compare", "minilm", "--backends", "onnxruntime,openvino", "--precisions", "fp32,int8", "--json")

    def both() -> None:
        quiet, _ = run(cache, *command, "--out", str(folder / "quiet"))
        neighbour()
        noisy, _ = run(cache, *command, "--out", str(folder / "noisy"))
        benchmark.extra_info["disturbed_share"] = {
            "quiet": round(quiet["noise"]["disturbed_share"], 3),
            "noisy": round(noisy["noise"]["disturbed_share"], 3),
        }
        for mine, theirs in zip(noisy["cases"], quiet["cases"], strict=True):
            if mine["speedup"] and theirs["speedup"]:
                benchmark.extra_info[mine["case"]] = {
                    "quiet": round(theirs["speedup"]["mid"], 3),
                    "noisy": round(mine["speedup"]["mid"], 3),
                    "ratio": round(mine["speedup"]["mid"] / theirs["speedup"]["mid"], 3),
                }

    benchmark.pedantic(both, rounds=1)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_medians_beside_a_ten_line_loop_that_takes_its_turns(
    benchmark: Any, cache: Path, folder: Path, backend: str
) -> None:
    """The same graph, the same inputs, the same threads; 60 blocks in random order, the median of their ratios."""
    os.environ["OPTIBENCH_CACHE"] = str(cache)
    plan = plan_of(Request(model="minilm"), models.resolve("minilm"), targets.load(), describe())
    case = Case(target="cpu", backend=backend, precision="fp32")
    with Workshop(plan, Cache(cache), folder / "build.log", lambda text: None) as workshop:
        artifact = workshop.artifact(case)
        made = Cache(cache).path(workshop.inputs().key)
    shape = plan.workload.shapes[0]
    job = Job(
        case=case, model=plan.model, target=plan.target("cpu"), round=1, artifact=artifact, inputs=str(made),
        shapes=(shape,), threads=2,
    )  # fmt: skip
    env = targets.environment(job.target, 2)

    def side_by_side() -> None:
        lane = ProcessLane("optibench.worker", env, folder / "worker.log")
        task = plugins.load("task", plan.model.ref.task).__name__
        module = plugins.load("backend", backend).__name__
        lane.ask(worker.Open(job=job, backend=module, task=task, started_ns=time.perf_counter_ns()), 60)
        lane.ask(worker.Warm(shape=shape), 60)
        command = [
            sys.executable,
            str(HERE / "bare.py"),
            backend,
            artifact.path,
            str(made / f"shape-{shape.name}.npz"),
            "2",
        ]
        bare = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **env}
        )
        assert bare.stdin is not None
        assert bare.stdout is not None
        while bare.stdout.readline().strip() != "ready":
            pass
        rng, ratios = random.Random(0), []
        for block in range(60):
            found: dict[str, float] = {}
            for who in rng.sample(["mine", "bare"], 2):
                if who == "mine":
                    burst = lane.ask(worker.Turn(shape=shape, block=block, seconds=0.06), 60)["burst"]
                    found[who] = float(np.median(burst["wall_ns"]))
                else:
                    bare.stdin.write("go\n")
                    bare.stdin.flush()
                    found[who] = float(np.median(json.loads(bare.stdout.readline())))
            ratios.append(found["mine"] / found["bare"])
        lane.close()
        bare.kill()
        benchmark.extra_info["optibench_over_bare_loop"] = round(float(np.median(ratios)), 4)

    benchmark.pedantic(side_by_side, rounds=1)
