"""The machine's limits are measured between the blocks, and never cost the cases anything."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from optibench import limits, turns
from optibench.execute import inline
from optibench.execute.base import Lane, LaneDied
from optibench.values import Job, Workload
from tests.test_turns import SHAPES, folder, job

__all__ = ["folder"]
WORKLOAD = Workload(shapes=SHAPES, blocks=12)


class Watched(inline.InlineLane):
    """A lane that notes its gauge's requests, and may die of them."""

    def __init__(self, case: str, log: list[str], dies: bool = False) -> None:
        super().__init__()
        self.case, self.log, self.dies, self.closed = case, log, dies, False

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        self.log.append(self.case)
        if self.dies:
            raise LaneDied("it was killed (signal 9)")
        return super().ask(request, timeout_seconds)

    def close(self) -> None:
        self.closed = True
        super().close()


def run(jobs: list[Job], dies: bool = False) -> tuple[list[turns.Turner], limits.Gauging, list[str], list[Watched]]:
    log: list[str] = []
    lanes: list[Watched] = []

    def launch(job: Job) -> Lane:
        lanes.append(Watched(job.case.name, log, dies and job.case.is_limit))
        return lanes[-1]

    (gauging,) = limits.gaugings(jobs, launch, WORKLOAD)
    return turns.run_round(jobs, launch, WORKLOAD, seed=7, gaugings=[gauging]), gauging, log, lanes


def test_each_limit_has_a_few_bursts_spread_over_the_round(folder: Path) -> None:
    _, gauging, log, lanes = run([job(folder, "fp32"), job(folder, "int8-weights"), job(folder, "int8-dynamic")])
    assert list(gauging.gauged) == ["fp32", "int8", "memory"]
    for gauged in gauging.gauged.values():
        assert [one.burst.block for one in gauged] == [0, 4, 8]
        assert all(one.amount / (wall / 1e9) == pytest.approx(1e10) for one in gauged for wall in one.burst.wall_ns)
    last = max(place for place, name in enumerate(log) if "limits" in name)
    assert set(log[last + 1 :]) == {"pretend/fake/fp32", "pretend/fake/int8-weights", "pretend/fake/int8-dynamic"}
    assert all(lane.closed for lane in lanes)


def test_cases_are_measured_alike_with_and_without_them(folder: Path) -> None:
    with_limits, *_ = run([job(folder, "fp32")])
    without = turns.run_round([job(folder, "fp32")], inline.launch, WORKLOAD, seed=7)
    mine, theirs = (one[0].measurement() for one in (with_limits, without))
    assert mine is not None
    assert theirs is not None
    assert [s.bursts for s in mine.series] == [s.bursts for s in theirs.series]


def test_a_process_that_dies_is_a_reason_and_the_cases_go_on(folder: Path) -> None:
    turners, gauging, log, _ = run([job(folder, "fp32")], dies=True)
    assert turners[0].measurement() is not None
    assert gauging.gauged == {}
    assert gauging.failed == dict.fromkeys(("fp32", "memory"), "it was killed (signal 9)")
    assert log.count("pretend/limits/all") == 1  # it is not tried again


def test_a_limit_that_cannot_be_measured_leaves_the_others(folder: Path) -> None:
    _, gauging, _, _ = run([job(folder, "fp32", peak=0)])
    assert list(gauging.gauged) == ["memory"]
    assert gauging.failed == {"fp32": "the fake machine shows no fp32"}


def test_what_a_stopped_run_told_already_is_not_measured_again(folder: Path) -> None:
    jobs = [job(folder, "fp32"), job(folder, "int8")]
    told = [limits.case_of("pretend", "fp32"), limits.case_of("pretend", "int8")]
    (rest,) = limits.gaugings(jobs, inline.launch, WORKLOAD, told)
    assert rest.names == ("memory",)
    assert limits.gaugings(jobs, inline.launch, WORKLOAD, [*told, limits.case_of("pretend", "memory")]) == []


def test_too_little_memory_is_a_reason_and_nothing_is_started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optibench.host.free_bytes", lambda: 1_000_000_000)
    _, gauging, log, _ = run([job(folder, "fp32")])
    assert "1.0 GB" in gauging.failed["memory"]
    assert "pretend/limits/all" not in log


@pytest.mark.parametrize("limit", ["fp32", "bf16", "int8", "memory"])
def test_pytorch_reaches_a_limit_of_this_machine_and_says_how(limit: str) -> None:
    from optibench import targets
    from optibench.backends import pytorch
    from optibench.measure import Meter, Timed

    gauge = pytorch.gauge(limit, targets.load()["cpu"], threads=1)
    burst = Meter().burst(Timed(partial(gauge.call, None)), 0, 0.01)
    assert gauge.amount > 10**8
    assert len(burst.wall_ns) >= 2
    assert "torch" in gauge.detail["how"]


def test_pytorch_says_which_limits_it_cannot_reach() -> None:
    from optibench import targets
    from optibench.backends import pytorch
    from optibench.errors import Unsupported

    with pytest.raises(Unsupported, match="int4"):
        pytorch.gauge("int4", targets.load()["cpu"], threads=1)
