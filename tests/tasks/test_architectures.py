"""Checkpoints as users have them, from rows of data to an export that answers on a second shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import inputs, models, plugins, score, targets
from optibench.answers import Answers
from optibench.arrays import batches_of
from optibench.cache import Cache
from optibench.plan import Plan, Request, plan_of
from optibench.values import Build, Case, Job
from tests.conftest import Optibench
from tests.tasks import zoo

pytestmark = pytest.mark.slow
QUICK = ("--rounds", "2", "--budget", "5s", "--quick")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        (name, task)
        for name, (task, _) in zoo.ZOO.items()
        if task not in ("text-ranking", "text-retrieval", "zero-shot-classification")
    ],
)
def test_the_task_is_told_by_the_files(tmp_path: Path, name: str, task: str) -> None:
    assert models.resolve(str(zoo.write(tmp_path, name))).ref.task == task


def build_of(folder: Path, task: str, cache: Cache) -> tuple[Build, Plan]:
    from optibench.host import describe

    model = models.resolve(str(folder), task=task)
    known = targets.load()
    plan = plan_of(Request(model=str(folder)), model, known, describe())
    rows = inputs.rows_of(model, plan.workload)
    recipe = inputs.recipe(model, plan.workload, rows.sources)
    entry = cache.get_or_make("inputs", recipe, lambda at: inputs.make(at, model, plan.workload, rows))
    build = Build(
        model=model, target=known["cpu"], backend="onnxruntime", precision="fp32",
        inputs=str(cache.path(entry.key)), calibration_sha256=rows.sources.calibration.sha256,
    )  # fmt: skip
    return build, plan


@pytest.mark.parametrize(
    "name",
    [
        *("DistilBERT answers", "mT5's encoder", "BART entails", "ResNet", "CLIP", "DINOv3", "SegFormer", "MaskFormer"),
        *("DETR", "RT-DETR", "Wav2Vec2 with a mask", "AST"),
    ],
)
def test_an_export_answers_as_the_model_does_on_data_it_was_not_traced_with(
    tmp_path: Path, cache_root: Path, name: str
) -> None:
    cache = Cache(cache_root)
    build, plan = build_of(zoo.write(tmp_path / "model", name), zoo.ZOO[name][0], cache)
    shape = plan.workload.shapes[0]
    answers = {}
    for backend in ("pytorch", "onnxruntime"):
        module = plugins.load("backend", backend)
        case = Case(target="cpu", backend=backend, precision="fp32")
        job = Job(
            case=case, model=build.model, target=build.target, round=1, artifact=module.prepare(build, cache),
            inputs=build.inputs, shapes=(shape,), threads=1,
        )  # fmt: skip
        task = plugins.load("task", build.model.ref.task)
        with module.session(job.artifact, job) as session:
            found = []
            for batch in batches_of(Path(build.inputs) / "evaluation.npz"):
                outputs = session.arrays(session.call(session.feed(batch)))
                made = task.answers(outputs, batch, build.model)
                found += made if isinstance(made, list) else [made]
            answers[backend] = np.concatenate(found)
    parity = score.parity_of(build.model.ref.task, *(Answers.of(answers[one]) for one in ("onnxruntime", "pytorch")))
    assert parity is not None
    assert parity.cosine_min > 0.999
    assert len(np.unique(answers["pytorch"].round(4), axis=0)) > 3  # a model that says the same of all would pass too


def folder_of_pictures(folder: Path, labels: tuple[str, ...]) -> Path:
    from PIL import Image

    for label in labels:
        (folder / label).mkdir(parents=True)
        Image.new("L", (20, 10), len(label)).save(folder / label / "1.png")
    return folder


def test_data_that_a_model_cannot_be_judged_by_are_refused_and_leave_nothing(
    optibench: Optibench, tmp_path: Path
) -> None:
    model = zoo.write(tmp_path / "model", "ViT")
    data = folder_of_pictures(tmp_path / "data", ("LABEL_0", "cat"))
    done = optibench("compare", model, "--dataset", data, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "Labels in the data: LABEL_0, cat. The model's labels: LABEL_0, LABEL_1" in done.stderr
    (data / "cat").rename(data / "LABEL_1")
    (data / "LABEL_1" / "1.png").write_bytes(b"no picture")
    done = optibench("compare", model, "--dataset", data, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "The picture of row 2 (LABEL_1/1.png) cannot be decoded" in done.stderr
    assert not (tmp_path / "run").exists()


def cases(run: Path) -> dict[str, Any]:
    return {case["case"]: case for case in json.loads((run / "comparison.json").read_text())["cases"]}


def test_digits_are_read_as_well_by_an_int8_build(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import digits

    model, data = digits.write(tmp_path)
    done = optibench(
        "compare", model, "--dataset", data, "--backends", "openvino", "--precisions", "int8", "--batch", "1,4",
        "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")["cpu/openvino/int8"]
    top1 = found["scores"][0]
    assert top1["metric"] == "top1"
    assert top1["reference"] > 0.85
    assert top1["value"] > 0.8
    assert found["parity"]["top1_agreement"] > 0.9
    assert "digits.parquet" in done.stdout


def test_python_is_tagged_as_well_by_an_int8_build(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import source_code

    model, data = source_code.write(tmp_path)
    done = optibench(
        "compare", model, "--dataset", data, "--backends", "onnxruntime", "--precisions", "fp32,int8-dynamic",
        "--length", "32", "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")
    assert found["cpu/onnxruntime/fp32"]["scores"][0]["metric"] == "f1"
    assert found["cpu/onnxruntime/fp32"]["scores"][0]["reference"] > 0.85
    assert found["cpu/onnxruntime/fp32"]["scores"][0]["change"]["mid"] == 0.0
    assert found["cpu/onnxruntime/int8-dynamic"]["scores"][0]["value"] > 0.8


def test_headings_find_their_sections(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import sections

    done = optibench(
        "compare", "minilm", "--task", "text-retrieval", "--dataset", sections.write(tmp_path),
        "--backends", "pytorch", "--precisions", "bf16", "--length", "32", "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")["cpu/pytorch/fp32"]
    assert [one["metric"] for one in found["scores"]] == ["ndcg@10", "recall@10", "mrr@10"]
    assert found["scores"][0]["value"] > 0.6


def test_recorded_languages_are_told_as_well_by_an_int8_build(optibench: Optibench, tmp_path: Path) -> None:
    from tests.fixtures import languages

    if install := languages.missing():
        pytest.skip(install)
    model, data = languages.write(tmp_path, languages.root())
    done = optibench(
        "compare", model, "--dataset", data, "--backends", "openvino", "--precisions", "int8", "--length", "16000",
        "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")["cpu/openvino/int8"]["scores"][0]
    assert found["metric"] == "accuracy"
    assert found["reference"] > 0.7
    assert found["value"] > 0.65
