"""Evaluation: how much of its time is the runtime's, and how much memory it takes for a thousand rows and for a hundred
times as many. Figures, no verdicts; ``tox -e bench`` keeps them in reports/bench."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from optibench.arrays import batches_of
from tests.bench.evaluation import STEPS, Evaluation, sentences, write_pairs
from tests.conftest import write_bert

FEW, MANY = 1_000, 100_000


def test_a_thousand_sentence_pairs_are_the_runtimes_time(benchmark: Any, tmp_path: Path) -> None:
    evaluation = Evaluation("minilm", write_pairs(tmp_path / "pairs.jsonl", sentences(), 1_000), tmp_path)
    evaluation.prepare()
    evaluation.build()
    at_work = evaluation.opened()
    call, inside = at_work.session.call, [0.0]
    judging: list[float] = []
    everything: list[float] = []

    def timed(feed: Any) -> Any:
        start = time.perf_counter()
        outputs = call(feed)
        inside[0] += time.perf_counter() - start
        return outputs

    def whole() -> None:
        inside[0], start = 0.0, time.perf_counter()
        evaluation.prepare()
        middle = time.perf_counter()
        evaluation.judge(at_work)
        end = time.perf_counter()
        evaluation.score()
        judging.append(inside[0] / (end - middle))
        everything.append(inside[0] / (time.perf_counter() - start))

    at_work.session.call = timed
    benchmark.pedantic(whole, rounds=5)
    masks = [batch["attention_mask"] for batch in batches_of(evaluation.at / "evaluation.npz")]
    padding = 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
    benchmark.extra_info["share_in_the_runtime_while_judging"] = round(statistics.median(judging), 3)
    benchmark.extra_info["share_with_tokenizing_and_scoring"] = round(statistics.median(everything), 3)
    benchmark.extra_info["share_of_places_that_are_padding"] = round(padding, 4)


def test_peak_memory_of_a_hundred_times_the_rows(benchmark: Any, tmp_path: Path) -> None:
    """Megabytes of the process that takes each step."""
    write_bert(tmp_path / "model")
    texts = sentences()

    def peak(step: str, count: int) -> float:
        command = [sys.executable, "-m", "tests.bench.evaluation", step, str(tmp_path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    def both() -> None:
        peaks: dict[int, dict[str, float]] = {}
        for count in (FEW, MANY):
            write_pairs(tmp_path / f"{count}.jsonl", texts, count)
            peaks[count] = {step: peak(step, count) for step in (*STEPS[:2], "building", *STEPS[2:])}
        for step in STEPS:
            few, many = peaks[FEW][step], peaks[MANY][step]
            benchmark.extra_info[step] = {f"{FEW} rows": round(few), f"{MANY} rows": round(many)}

    benchmark.pedantic(both, rounds=1)
