"""What our own code costs: start-up, planning, statistics, rendering, and a measured call. ``tox -e bench`` times them
in turns with a fixed piece of Python, and our own gate judges them by reports/baselines/functions.json."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from optibench import host, measure, plugins, targets
from optibench.comparison import comparison_from_records
from optibench.plan import Request, plan_of
from optibench.pytest_plugin import Gauge
from optibench.results import Comparison
from optibench.values import Burst, Case, Job, Model, Record, Series, Shape, Workload
from tests import factories

SHAPE = Shape(batch=1, length=128)


@pytest.mark.parametrize("args", [["--help"], ["targets"], ["compair"]], ids=lambda args: args[0])
def test_start_up(optibench: Gauge, args: list[str]) -> None:
    command = [str(Path(sys.executable).parent / "optibench"), *args]
    optibench.in_turns(lambda: subprocess.run(command, capture_output=True, check=False))


def test_planning_ten_thousand_jobs(optibench: Gauge) -> None:
    """56 targets of 9 cases, 20 rounds of each."""
    cpu = targets.load()["cpu"]
    many = {f"cpu-{number}": msgspec.structs.replace(cpu, name=f"cpu-{number}") for number in range(56)}
    model, machine = Model(ref=factories.model(), path="."), host.describe()
    request = Request(model="minilm", targets=tuple(many))
    artifact = factories.record().artifact

    def jobs() -> list[Job]:
        plan = plan_of(request, model, many, machine)
        return [
            Job(
                case=case, model=plan.model, target=plan.target(case.target), round=number, artifact=artifact,
                inputs="", shapes=plan.workload.shapes, threads=2,
            )
            for number in range(20)
            for case in plan.runnable
        ]  # fmt: skip

    assert len(jobs()) >= 10_000
    optibench.in_turns(jobs, rounds=5, blocks=3)


@cache
def million() -> tuple[Record, ...]:
    """Records of five rounds of four processes, 1,000,000 calls in all."""
    rng = random.Random(0)
    cases = {Case(target="cpu", backend="onnxruntime", precision=p): k for p, k in (("fp32", 2), ("int8", 4))}
    reference = Case(target="cpu", backend="pytorch", precision="fp32")
    cases |= {reference: 1, msgspec.structs.replace(reference, copy=1): 1}

    def series(speed: int) -> Series:
        bursts = tuple(
            Burst(
                block=block,
                wall_ns=tuple(int(1e6 / speed * rng.uniform(0.97, 1.05)) for _ in range(2000)),
                cpu_ns=int(2 * 2000 * 1e6 / speed),
                switches=0,
            )
            for block in range(25)
        )
        return Series(
            shape=SHAPE, first_call_seconds=0.1, warmup_calls=3, settled=True, peak_bytes=1_000_000, bursts=bursts
        )

    workload = Workload(shapes=(SHAPE,))
    return tuple(
        factories.record(case=case, round=r, workload=workload, measurement=factories.measurement(series(speed)))
        for r in range(1, 6)
        for case, speed in cases.items()
    )


def test_statistics_of_a_million_samples(optibench: Gauge) -> None:
    records = million()
    optibench.in_turns(lambda: comparison_from_records(records, command="", created=""), rounds=5, blocks=4)


@cache
def large() -> Comparison:
    """A comparison of 10,000 rows."""
    names = ((f"cpu-{number // 50}/onnxruntime/int8", number % 50 + 1) for number in range(10_000))
    rows = (factories.reference(), *(factories.case(name, batch=batch) for name, batch in names))
    return factories.comparison(cases=rows)


@pytest.mark.parametrize("name", ["text", "markdown", "csv", "json"])
def test_rendering_ten_thousand_cases(optibench: Gauge, name: str) -> None:
    renderer: ModuleType = plugins.load("renderer", name)
    optibench.in_turns(lambda: renderer.render(large()), rounds=5, blocks=2)


def test_cost_of_measured_calls(optibench: Gauge) -> None:
    """400 measured calls of a function that does nothing: what is left is the meter's own."""
    meter, timed = measure.Meter(), measure.Timed(lambda: None)
    optibench.in_turns(lambda: meter._window(timed, 0.0, 400))
