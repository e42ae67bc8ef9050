"""Real builds of the packaged minilm on this machine, opened and measured by the product's own worker and turns, for
suites that want cases which a run has none of: two copies of one artifact under different names."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from optibench import api, plugins, targets, worker
from optibench.build import Workshop
from optibench.cache import Cache, default_root
from optibench.execute.process import ProcessLane
from optibench.host import describe, usable_cores
from optibench.plan import Plan, Request
from optibench.samples import Samples
from optibench.turns import run_round
from optibench.values import Artifact, Case, Job, Record, Workload
from tests.factories import record

BARE = Path(__file__).parent / "bare.py"
BURN = """
import time
from optibench.worker import die_with_parent
die_with_parent()
while True:
    end = time.time() + 1.5
    while time.time() < end:
        pass
    time.sleep(3)
"""
"""A neighbour that burns a core for 1.5 of every 4.5 seconds."""


def case(name: str, again: bool = False, target: str = "cpu") -> Case:
    """The case of "backend/precision"; ``again`` is the same artifact under another name."""
    backend, precision = name.split("/")
    return Case(target=target, backend=backend, precision=precision, variant="again" if again else "")


@contextmanager
def neighbour() -> Iterator[None]:
    """A neighbour lives on this machine."""
    process = subprocess.Popen([sys.executable, "-c", BURN])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@dataclass
class StampedLane:
    """A lane that notes when each turn began and ended, and what this process burnt meanwhile."""

    lane: ProcessLane
    stamps: list[dict[str, Any]]
    case: Case

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        start, cpu = time.perf_counter(), time.process_time()
        reply = self.lane.ask(request, timeout_seconds)
        if isinstance(request, worker.Turn):
            end, spent = time.perf_counter(), time.process_time() - cpu
            self.stamps.append(
                {"case": self.case, "block": request.block, "start": start, "end": end, "parent_cpu": spent}
            )
        return reply

    def close(self) -> None:
        self.lane.close()


@dataclass
class Bench:
    """The plan's artifacts and what is needed to open them; made once (``bench``)."""

    plan: Plan
    artifacts: dict[str, Artifact]
    inputs: str
    folder: Path
    target: str = "cpu"
    stamps: list[dict[str, Any]] = field(default_factory=list)

    def case(self, build: str, again: bool = False) -> Case:
        """``case`` on this bench's target."""
        return case(build, again, self.target)

    @property
    def workload(self) -> Workload:
        return self.plan.workload

    def job(self, case: Case, number: int) -> Job:
        return Job(
            case=case,
            model=self.plan.model,
            target=self.plan.target(case.target),
            round=number,
            artifact=self.artifacts[f"{case.backend}/{case.precision}"],
            inputs=self.inputs,
            shapes=self.workload.shapes,
            threads=usable_cores(),
        )

    def launch(self, job: Job) -> StampedLane:
        env = targets.environment(job.target, job.threads)
        log = self.folder / (job.case.name.replace("/", "-").replace(":", "-") + ".log")
        return StampedLane(ProcessLane("optibench.worker", env, log), self.stamps, job.case)

    def opened(self, job: Job) -> StampedLane:
        """A worker that has opened the job's artifact and is warm."""
        lane = self.launch(job)
        backend = plugins.load("backend", job.case.backend).__name__
        task = plugins.load("task", job.model.ref.task).__name__
        lane.ask(worker.Open(job=job, backend=backend, task=task, started_ns=time.perf_counter_ns()), 120)
        lane.ask(worker.Warm(shape=job.shapes[0]), 60)
        return lane

    def round(self, cases: Sequence[Case], number: int, seed: int = 0) -> list[Record]:
        """One round of turns, as the product runs it; ``stamps`` are of the last round."""
        self.stamps.clear()
        jobs = [self.job(case, number) for case in cases]
        turners = run_round(
            jobs, self.launch, self.workload, seed=seed * 10_007 + number * 101, together=min(4, usable_cores())
        )
        return [
            record(
                case=turner.job.case,
                round=number,
                workload=self.workload,
                measurement=turner.measurement(),
                status=turner.status,
                reason=turner.reason,
            )
            for turner in turners
        ]

    def one_after_the_other(self, cases: Sequence[Case], number: int) -> dict[Case, float]:
        """Each case in a process of its own that has the machine to itself: its median over a second, in ns."""
        found = {}
        for each in cases:
            job = self.job(each, number)
            lane = self.opened(job)
            burst = lane.ask(worker.Turn(shape=job.shapes[0], block=0, seconds=1.0), 60)["burst"]
            found[each] = float(np.median(burst["wall_ns"]))
            lane.close()
        return found

    def parent_share(self) -> float:
        """This process's CPU time over wall time, from the first turn of the last round to its last."""
        return sum(s["parent_cpu"] for s in self.stamps) / sum(s["end"] - s["start"] for s in self.stamps)

    def values(self, records: Sequence[Record], candidate: Case, base: Case) -> list[float]:
        """The rounds' values of one case against another, by the project's own statistics."""
        shape = self.workload.shapes[0]
        return Samples(records).round_values(candidate, base, shape)


def bench(folder: Path, names: Sequence[str], say: Callable[[str], None] = print, target: str = "cpu") -> Bench:
    """Builds (or takes from the cache) what ``names`` ("backend/precision") want on the target."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    plan = api.plan(Request(model="minilm", targets=(target,)))
    cache = Cache(default_root())
    with Workshop(plan, cache, folder / "build.log", say) as workshop:
        artifacts = {name: workshop.artifact(case(name, target=target)) for name in names}
        return Bench(plan, artifacts, str(cache.path(workshop.inputs(plan.model).key)), folder, target)


def beside_a_bare_loop(bench: Bench, build: str, blocks: int) -> list[float]:
    """optibench's burst median over that of a ten-line loop on the runtime's own API (bare.py), block by block: the
    same graph, inputs and threads, in turns whose order is drawn anew for every block."""
    job = bench.job(case(build), 1)
    shape, env = job.shapes[0], targets.environment(job.target, job.threads)
    arrays = Path(job.inputs) / f"shape-{shape.name}.npz"
    command = [sys.executable, str(BARE), job.case.backend, job.artifact.path, str(arrays), str(job.threads)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **env}) as bare:
        assert bare.stdin
        assert bare.stdout
        assert bare.stdout.readline().strip() == "ready"
        lane = bench.opened(job)
        rng, ratios = random.Random(0), []
        for block in range(blocks):
            found: dict[str, list[int]] = {}
            for who in rng.sample(["mine", "bare"], 2):
                if who == "mine":
                    turn = worker.Turn(shape=shape, block=block, seconds=bench.workload.burst_seconds)
                    found[who] = lane.ask(turn, 60)["burst"]["wall_ns"]
                else:
                    bare.stdin.write("go\n")
                    bare.stdin.flush()
                    found[who] = json.loads(bare.stdout.readline())
            ratios.append(float(np.median(found["mine"]) / np.median(found["bare"])))
        lane.close()
        bare.kill()
    return ratios


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    host = describe()
    names = ("optibench", "torch", "onnxruntime", "openvino", "numpy")
    return {
        "cpu": ", ".join([host.cpu_model, *host.gpus]),
        "cores": host.cores,
        "os": host.os,
        "python": host.python,
        "packages": {name: host.packages[name] for name in names if name in host.packages},
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
