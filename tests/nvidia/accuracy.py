"""What TensorRT's graphs of MiniLM keep of its score on labelled data, by ONNX Runtime's CPU provider and the worker
that judges in runs; ``python -m tests.nvidia.accuracy`` writes the table in docs/gpu.md."""

from __future__ import annotations

import re
import tempfile
import time
from dataclasses import dataclass

from optibench import inputs, models, plugins, quantize, score, targets
from optibench.answers import Answers
from optibench.backends.onnxruntime import run_file
from optibench.cache import Cache, Entry, default_root
from optibench.errors import OptibenchError
from optibench.execute.inline import InlineLane
from optibench.tasks.base import truths_of
from optibench.values import Artifact, Build, Case, Job, Model, Shape, Workload
from optibench.worker import Judge, Open
from tests.nvidia.coverage import DOCS

MODEL = "minilm"
FORMS = {
    "fp32": ("tensorrt", "fp32"),
    "int8": ("tensorrt", "int8"),
    "fp8": ("tensorrt", "fp8"),
    "int4-weights": ("tensorrt", "int4-weights"),
    "int8 by modelopt": ("modelopt", "int8"),
    "fp8 by modelopt": ("modelopt", "fp8"),
}
"""A row's name, and the form of the graph and precision."""
BY_NNCF = [name for name, (form, _) in FORMS.items() if form == "tensorrt"]
MARKS = ("<!-- accuracy -->", "<!-- /accuracy -->")
SHAPE = Shape(batch=1, length=128)


@dataclass(frozen=True)
class Kept:
    """A graph's score, its share of the first one's, and the mean cosine of their answers."""

    score: float
    share: float
    cosine: float

    @property
    def cells(self) -> str:
        return f"{self.score:.4f} | {self.share:.1%} | {self.cosine:.4f}"


def kept(names: list[str], cache: Cache) -> dict[str, Kept]:
    """Of each of these rows, fp32 first. Error: no data; a tool of its own that has no environment in the cache."""
    model = models.resolve(MODEL)
    alias = models.aliases()[MODEL]
    workload = Workload(shapes=(SHAPE,), dataset=alias.dataset, columns=alias.columns, calibration=alias.calibration)
    rows = inputs.rows_of(model, workload)
    recipe = inputs.recipe(model, workload, rows.sources)
    entry = cache.get_or_make("inputs", recipe, lambda folder: inputs.make(folder, model, workload, rows))
    calibration = rows.sources.calibration.sha256
    found: dict[str, Kept] = {}
    first = reference = None
    for name in names:
        form, precision = FORMS[name]
        build = Build(
            model=model,
            target=targets.load()["cuda"],
            backend="tensorrt",
            precision=precision,
            inputs=str(cache.path(entry.key)),
            calibration_sha256=calibration,
        )
        answers = judged(model, quantize.artifact(build, form, cache, run_file), cache, entry)
        (value, *_) = score.scores_of(
            model.ref.task, answers, entry.facts["labels"], truths_of(entry.facts, cache.path(entry.key))
        )
        first, reference = first or value.value, answers if reference is None else reference
        parity = score.parity_of(model.ref.task, answers, reference)
        assert parity is not None, "the task's answers are compared by their cosine"
        found[name] = Kept(score=value.value, share=value.value / first, cosine=parity.cosine)
    return found


def judged(model: Model, artifact: Artifact, cache: Cache, entry: Entry) -> Answers:
    """The artifact's answers to the evaluation inputs."""
    folder = cache.path(entry.key)
    job = Job(
        case=Case(target="cpu", backend="onnxruntime", precision="fp32"),
        model=model,
        target=targets.load()["cpu"],
        round=1,
        artifact=artifact,
        inputs=str(folder),
        shapes=(SHAPE,),
        threads=2,
    )
    task = plugins.load("task", model.ref.task).__name__
    lane = InlineLane()
    with tempfile.TemporaryDirectory() as out:
        opened = Open(job=job, backend="optibench.backends.onnxruntime", task=task, started_ns=time.perf_counter_ns())
        for request in (opened, Judge(evaluation=str(folder / "evaluation.npz"), out=f"{out}/answers")):
            reply = lane.ask(request, 0)
            if "error" in reply:
                raise OptibenchError(reply["error"])
        answers = Answers.of_file(reply, entry.facts["order"]).kept()
    lane.close()
    return answers


def documented() -> dict[str, str]:
    """The rows that stand in docs/gpu.md, by name."""
    text = DOCS.read_text().split(MARKS[0])[1].split(MARKS[1])[0]
    rows = [re.split(r" \| ", line.strip().strip("|").strip(), maxsplit=1) for line in text.strip().splitlines()[2:]]
    return {row[0]: row[1] for row in rows}


def main() -> None:
    lines = [
        "| MiniLM on WordSim-353, by ONNX Runtime's CPU provider | Spearman | of fp32 | cosine of the embeddings |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {one.cells} |" for name, one in kept(list(FORMS), Cache(default_root())).items()]
    inside = "\n".join(f"  {line}" for line in (MARKS[0], *lines, MARKS[1])).lstrip()
    text = re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda match: inside, DOCS.read_text(), flags=re.DOTALL)
    DOCS.write_text(text)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
