"""Judging one build by a data set, a step at a time as the processes of a run do it: ``python -m tests.bench.evaluation
STEP FOLDER COUNT`` takes one step for COUNT pairs of sentences and prints the process's peak memory in megabytes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from optibench import builder, host, inputs, measure, models, plugins, score, stats, targets, worker
from optibench.answers import Answers
from optibench.plan import Plan, Request, plan_of
from optibench.tasks.base import truths_of
from optibench.values import Artifact, Case, Job

TASK = "sentence-similarity"
CASE = Case(target="cpu", backend="onnxruntime", precision="fp32")
STEPS = ("reading", "preparing", "judging", "scoring")
"""The parent's, the builder's, a worker's, and the parent's again."""
RESAMPLES = 500
"""Of the 2,000 that an interval is of. They are drawn in parts: of 1,000 rows these are two."""


class Evaluation:
    """One model, data of scored pairs, and a folder for what is made of them."""

    def __init__(self, model: str, dataset: Path, folder: Path) -> None:
        self.folder, self.at = folder, folder / "inputs"
        request = Request(model=model, task=TASK, dataset=str(dataset), lengths=(16,))
        self.plan: Plan = plan_of(request, models.resolve(model, task=TASK), targets.load(), host.describe())

    def rows(self) -> inputs.Rows:
        return inputs.rows_of(self.plan.model, self.plan.workload)

    def prepare(self) -> None:
        """Writes the inputs, and the facts that scores are made by."""
        self.at.mkdir(parents=True, exist_ok=True)
        facts = inputs.make(self.at, self.plan.model, self.plan.workload, self.rows())
        (self.folder / "facts.json").write_bytes(msgspec.json.encode(facts))

    def build(self) -> None:
        build = self.plan.build(CASE, str(self.at), self.rows().sources.calibration.sha256)
        reply = builder.answer(builder.Prepare(cache=str(self.folder / "cache"), build=build), lambda text: None)
        (self.folder / "artifact.json").write_bytes(msgspec.json.encode(reply["artifact"]))

    def opened(self) -> worker.Worker:
        """A worker in this process, with the build open."""
        job = Job(
            case=CASE, model=self.plan.model, target=self.plan.target("cpu"), round=1, inputs=str(self.at),
            artifact=msgspec.json.decode((self.folder / "artifact.json").read_bytes(), type=Artifact),
            shapes=self.plan.workload.shapes, threads=host.usable_cores(),
        )  # fmt: skip
        backend, task = plugins.load("backend", CASE.backend).__name__, plugins.load("task", TASK).__name__
        made = worker.Worker()
        reply = made.answer(worker.Open(job=job, backend=backend, task=task, started_ns=time.perf_counter_ns()))
        assert "error" not in reply, reply
        return made

    def judge(self, at_work: worker.Worker) -> dict[str, Any]:
        reply = at_work.answer(worker.Judge(evaluation=str(self.at / "evaluation.npz"), out=str(self.folder / "out")))
        assert "error" not in reply, reply
        (self.folder / "judged.json").write_bytes(msgspec.json.encode(reply))
        return reply

    def score(self) -> float:
        """What the parent makes of two builds' answers: their scores, parity, and the interval of the change."""
        judged, facts = (json.loads((self.folder / f"{name}.json").read_text()) for name in ("judged", "facts"))
        reference, answers = Answers.of_file(judged, facts["order"]).kept(), Answers.of_file(judged, facts["order"])
        found = score.scores_of(TASK, answers, facts["labels"], truths_of(facts, self.at))[0]
        parity = score.parity_of(TASK, answers, reference)
        assert parity is not None
        mine, labels = np.array(found.predictions), np.array(found.labels)
        metric = plugins.load("task", TASK).METRICS[found.metric]
        stats.paired_change(metric, mine + np.linspace(0, 0.1, len(mine)), mine, labels, resamples=RESAMPLES)
        return found.value


def write_pairs(path: Path, texts: list[str], count: int) -> Path:
    """Pairs drawn from ``texts``, each made another by its number, with made-up scores."""
    import random

    rng = random.Random(0)
    with path.open("w") as file:
        for number in range(count):
            one, other = rng.choice(texts), rng.choice(texts)
            row = {"text": f"{number} {one}", "text_pair": f"{number} {other}", "label": rng.uniform(0, 5)}
            file.write(json.dumps(row) + "\n")
    return path


def sentences() -> list[str]:
    """Real ones, of Python's language reference."""
    from optibench.data import default_texts

    return [one.strip() for text in default_texts(2000) for one in text.split(". ") if len(one) > 20]


def step(name: str, evaluation: Evaluation) -> None:
    if name == "reading":
        evaluation.rows()
    elif name == "preparing":
        evaluation.prepare()
    elif name == "building":
        evaluation.build()
    elif name == "judging":
        evaluation.judge(evaluation.opened())
    else:
        evaluation.score()


if __name__ == "__main__":
    asked, place, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    step(asked, Evaluation(str(place / "model"), place / f"{number}.jsonl", place / number))
    print(measure.peak_bytes() / 1e6)
