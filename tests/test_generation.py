"""Generating, on the fake backend's little language: greedy decoding, and what a round of turns keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import generation, turns
from optibench.arrays import save
from optibench.backends import fake
from optibench.execute import inline
from optibench.values import Burst, Job, Record, Series, Shape, Workload
from tests import factories
from tests.test_turns import job

PREFILL = Shape(batch=2, length=8, phase="prefill")
DECODE = Shape(batch=2, length=8, phase="decode", new_tokens=5)
WORKLOAD = Workload(shapes=(PREFILL, DECODE), blocks=12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    save(tmp_path / "shape-2x8.npz", [{"input_ids": rng.integers(0, 50, (2, 8))}])
    save(tmp_path / "evaluation.npz", [{"input_ids": rng.integers(0, 50, (4, 9))}])
    save(tmp_path / "prompts.npz", [{"input_ids": rng.integers(0, 50, (1, 4))} for _ in range(3)])
    return tmp_path


def generating(folder: Path, precision: str = "fp32", **behaviour: Any) -> Job:
    return msgspec.structs.replace(job(folder, precision, **behaviour), shapes=WORKLOAD.shapes)


def session(folder: Path) -> fake.FakeGenerativeSession:
    return fake.FakeGenerativeSession({}, generating(folder))


def run(*jobs: Job, **more: Any) -> list[turns.Turner]:
    return turns.run_round(jobs, inline.launch, WORKLOAD, seed=7, **more)


def series(turner: turns.Turner) -> dict[str, Series]:
    measurement = turner.measurement()
    assert measurement is not None, turner.reason
    return {one.shape.phase: one for one in measurement.series}


def test_greedy_decoding_takes_the_likeliest_token_each_time(folder: Path) -> None:
    prompt = {"input_ids": np.array([[3, 7], [7, 3]])}
    made = generation.generate(session(folder), prompt, 6)
    for row, last in zip(made, (7, 3), strict=True):
        for token in row:
            following = session(folder).call({"input_ids": np.array([[last]])})["logits"][0, -1]
            assert token == following.argmax()
            last = int(token)
        assert len(row) == 6


def test_a_row_ends_before_its_first_stop_token_and_the_others_go_on(folder: Path) -> None:
    prompt = {"input_ids": np.array([[3], [4]])}
    free = generation.generate(session(folder), prompt, 8)
    stop = int(free[0][2])
    first = [list(row).index(stop) if stop in row else 8 for row in free]
    ended = generation.generate(session(folder), prompt, 8, stop={stop})
    assert first[0] <= 2
    assert [row.tolist() for row in ended] == [row[:end].tolist() for row, end in zip(free, first, strict=True)]


def test_prefill_and_decode_are_timed_apart_and_every_decode_burst_is_the_same_tokens(folder: Path) -> None:
    for turner in run(generating(folder), generating(folder, "int8", token_seconds=0.0005)):
        found = series(turner)
        assert set(found) == {"prefill", "decode"}
        assert all(len(burst.wall_ns) == DECODE.new_tokens for burst in found["decode"].bursts)
        assert all(len(burst.wall_ns) >= 2 for burst in found["prefill"].bursts)

        def median(bursts: tuple[Burst, ...]) -> float:
            return float(np.median([wall for burst in bursts for wall in burst.wall_ns])) / 1e9

        token = 0.0005 if turner.job.case.precision == "int8" else 0.001
        assert median(found["decode"].bursts) == pytest.approx(2 * token, rel=0.1)
        assert median(found["prefill"].bursts) == pytest.approx(0.01 * 16 / 128, rel=0.1)


def test_the_cache_is_told_of_the_whole_generation(folder: Path) -> None:
    (turner,) = run(generating(folder))
    found = series(turner)
    assert found["decode"].cache_bytes == 64 * 2 * (8 + 5)
    assert found["prefill"].cache_bytes is None


def test_the_tokens_made_of_each_prompt_are_kept_and_a_faulty_build_makes_others(folder: Path, tmp_path: Path) -> None:
    good, bad = run(generating(folder), generating(folder, "int8", error=9.0), judge_in=tmp_path)
    assert good.judged
    assert bad.judged
    assert [len(row) for row in good.judged["generated"]] == [5, 5, 5]
    assert good.judged["generated"] != bad.judged["generated"]


def test_logits_that_are_not_numbers_are_a_failed_case_that_names_them(folder: Path) -> None:
    (turner,) = run(generating(folder, fail="nan"))
    assert (turner.status, turner.reason) == ("failed", "the output 'logits' holds NaN")


def test_other_tasks_shapes_are_written_as_they_were_so_that_digests_stay() -> None:
    shape = Shape(batch=1, length=128)
    assert msgspec.json.encode(shape) == b'{"batch":1,"length":128}'
    assert (shape.name, shape.size) == ("1x128", "1x128")


def test_a_record_of_a_generation_survives_json() -> None:
    record = factories.record(
        workload=WORKLOAD,
        generated=((1, 2), (3, 4)),
        measurement=factories.measurement(
            Series(shape=DECODE, first_call_seconds=0.1, warmup_calls=3, settled=True, peak_bytes=1, cache_bytes=7)
        ),
    )
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record
    assert (PREFILL.name, DECODE.name, PREFILL.size) == ("2x8 prefill", "2x8 decode", "2x8")
