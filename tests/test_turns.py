"""A round of turns, on the fake backend's virtual clocks, in this process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import stats, turns
from optibench.arrays import save
from optibench.execute import inline
from optibench.execute.base import LaneDied
from optibench.values import Artifact, Case, Job, Model, Shape, Target, Workload
from tests.factories import model

SHAPES = (Shape(batch=1, length=128), Shape(batch=4, length=128))
WORKLOAD = Workload(shapes=SHAPES, blocks=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        save(tmp_path / f"shape-{shape.name}.npz", [{"input_ids": rng.integers(0, 99, (shape.batch, shape.length))}])
    save(tmp_path / "evaluation.npz", [{"input_ids": rng.integers(0, 99, (4, 9))} for _ in range(3)])
    return tmp_path


def job(folder: Path, precision: str, copy: int = 0, **behaviour: Any) -> Job:
    settings = {"latency_seconds": 0.01, "round_noise": 0.0, "call_noise": 0.01, **behaviour}
    target = Target(
        name="pretend", description="", device="cpu", backends={}, precisions=(precision,),
        options={"fake": {precision: settings}},
    )  # fmt: skip
    return Job(
        case=Case(target="pretend", backend="fake", precision=precision, copy=copy),
        model=Model(ref=model(task="text-classification"), path=""),
        target=target,
        round=1,
        artifact=Artifact(format="fake", path="", sha256="", bytes=1),
        inputs=str(folder),
        shapes=SHAPES,
        threads=2,
    )


def run(jobs: list[Job], **more: Any) -> list[turns.Turner]:
    return turns.run_round(jobs, more.pop("launch", inline.launch), WORKLOAD, seed=7, **more)


def test_every_case_has_one_burst_a_block_at_every_shape(folder: Path) -> None:
    for turner in run([job(folder, "fp32"), job(folder, "int8", latency_seconds=0.004)]):
        measurement = turner.measurement()
        assert measurement is not None
        assert [s.shape for s in measurement.series] == list(SHAPES)
        for series in measurement.series:
            assert [burst.block for burst in series.bursts] == list(range(12))
            assert all(len(burst.wall_ns) >= 2 for burst in series.bursts)


def test_planted_latencies_come_back(folder: Path) -> None:
    slow, fast = run([job(folder, "fp32"), job(folder, "int8", latency_seconds=0.004)])
    for turner, wanted in ((slow, 0.010), (fast, 0.004)):
        for shape in SHAPES:
            calls = [ns for burst in turner.bursts[shape] for ns in burst.wall_ns]
            assert np.median(calls) / 1e9 == pytest.approx(wanted * shape.batch, rel=0.02)


def test_the_order_within_a_block_is_shuffled_and_the_same_for_the_same_seed(folder: Path) -> None:
    def order() -> list[str]:
        asked: list[str] = []

        class Told(inline.InlineLane):
            def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
                if type(request).__name__ == "Turn":
                    asked.append(self.worker.job.case.name)
                return super().ask(request, timeout_seconds)

        run([job(folder, p) for p in ("fp32", "bf16", "int8")], launch=lambda job: Told())
        return asked

    first = order()
    assert first == order()
    blocks = {tuple(first[n : n + 3]) for n in range(0, len(first), 3)}
    assert len(blocks) > 3
    assert all(len(set(block)) == 3 for block in blocks)


def test_a_worker_that_dies_leaves_its_turns_to_the_others(folder: Path) -> None:
    class Dying(inline.InlineLane):
        asked = 0

        def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
            self.asked += 1
            if self.asked > 6:
                raise LaneDied("it crashed (SIGSEGV)")
            return super().ask(request, timeout_seconds)

    jobs = [job(folder, "fp32"), job(folder, "int8")]
    fp32, int8 = run(jobs, launch=lambda j: Dying() if j.case.precision == "int8" else inline.InlineLane())
    assert (int8.status, int8.reason) == ("failed", "it crashed (SIGSEGV)")
    assert int8.measurement() is None
    assert all(len(bursts) == 12 for bursts in fp32.bursts.values())


def test_every_worker_is_closed_whatever_happens(folder: Path) -> None:
    closed: list[str] = []

    class Watched(inline.InlineLane):
        def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
            if type(request).__name__ == "Turn":
                raise KeyboardInterrupt
            return super().ask(request, timeout_seconds)

        def close(self) -> None:
            closed.append("closed")
            super().close()

    with pytest.raises(KeyboardInterrupt):
        run([job(folder, "fp32"), job(folder, "int8")], launch=lambda j: Watched())
    assert closed == ["closed", "closed"]


def test_answers_are_asked_of_each_case_but_not_of_the_twin(folder: Path) -> None:
    jobs = [job(folder, "fp32"), job(folder, "fp32", copy=1), job(folder, "int8", error=0.1)]
    fp32, twin, int8 = run(jobs, judge_in=folder)
    assert twin.judged is None
    assert fp32.judged is not None
    assert int8.judged is not None
    assert fp32.judged["count"] == int8.judged["count"] == 12
    assert fp32.judged["answers_sha256"] != int8.judged["answers_sha256"]
    assert int8.judged["executed"]["precision"] == "int8"


def test_a_round_that_takes_too_long_has_fewer_blocks_but_never_under_ten_or_three_of_several_shapes(
    folder: Path,
) -> None:
    (turner,) = run([job(folder, "fp32")], seconds=0.0)
    assert all(len(bursts) == 3 for bursts in turner.bursts.values())
    alone = msgspec.structs.replace(job(folder, "fp32"), shapes=SHAPES[:1])
    (turner,) = turns.run_round(
        [alone], inline.launch, msgspec.structs.replace(WORKLOAD, shapes=SHAPES[:1]), seed=7, seconds=0.0
    )
    assert [len(bursts) for bursts in turner.bursts.values()] == [10]


def test_each_shape_has_the_same_time_and_what_a_quick_one_leaves_goes_to_the_slower() -> None:
    quick, slow, slower = (Shape(batch=batch, length=128) for batch in (1, 2, 8))
    workload = Workload(shapes=(quick, slow, slower), blocks=25)
    found = turns.blocks_of(workload, {quick: 0.1, slow: 1.0, slower: 3.0}, 30.0)
    assert found == {quick: 25, slow: 9, slower: 6}
    assert turns.blocks_of(workload, {quick: 0.1, slow: 1.0, slower: 3.0}, 1000.0) == dict.fromkeys(workload.shapes, 25)


def test_a_shape_of_fewer_blocks_lets_some_pass_evenly_and_its_round_has_a_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick, slow = SHAPES
    monkeypatch.setattr(turns, "blocks_of", lambda *_: {quick: 12, slow: 4})
    one, other = run([job(folder, "fp32"), job(folder, "int8", latency_seconds=0.004)], seconds=1.0)
    assert [burst.block for burst in one.bursts[quick]] == list(range(12))
    assert [burst.block for burst in one.bursts[slow]] == [0, 3, 6, 9]
    kept = [True] * 4
    value, blocks = stats.round_value(other.bursts[slow], kept, one.bursts[slow], kept)
    assert blocks == 4
    assert value == pytest.approx(math.log(0.4), abs=0.05)


def test_a_slow_shape_among_several_has_one_call_a_burst(folder: Path) -> None:
    (turner,) = run([job(folder, "fp32", latency_seconds=0.05)])  # 50 ms with one row, 200 ms with four
    calls = {shape.batch: {len(burst.wall_ns) for burst in bursts} for shape, bursts in turner.bursts.items()}
    assert calls == {1: {2}, 4: {1}}


def test_several_shapes_cost_less_than_twice_the_largest_alone(tmp_path: Path) -> None:
    """Seconds of the fake's clocks: what the workers were busy or slept through a whole round."""
    six = tuple(Shape(batch=batch, length=length) for batch in (1, 8) for length in (32, 128, 512))
    for shape in six:
        save(tmp_path / f"shape-{shape.name}.npz", [{"input_ids": np.ones((shape.batch, shape.length), np.int64)}])

    def seconds(shapes: tuple[Shape, ...]) -> float:
        lanes: list[inline.InlineLane] = []

        def launch(job: Job) -> inline.InlineLane:
            lanes.append(inline.launch(job))
            return lanes[-1]

        jobs = [job(tmp_path, "fp32", latency_seconds=0.03), job(tmp_path, "int8", latency_seconds=0.008)]
        jobs = [msgspec.structs.replace(one, shapes=shapes) for one in jobs]
        turns.run_round(jobs, launch, Workload(shapes=shapes, blocks=12), seed=7)
        return sum(lane.worker.session.clocks.wall for lane in lanes) / 1e9

    assert seconds(six) < 1.5 * seconds(six[-1:])
