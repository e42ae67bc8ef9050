"""Models whose code counts tokens while they are exported: their graph has one length, and takes any text up to it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from optibench import export, fixed_length, models, targets
from optibench.values import Artifact, Job, Model, Shape
from optibench.worker import Open, Worker
from tests import factories
from tests.conftest import Optibench
from tests.coverage.zoo import ZOO

LENGTH = 8


class Looping(torch.nn.Module):
    """Goes from token to token in Python, as Mamba does; its answer has the text's length, and a vector has none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(20, 4)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(pad_token_id=1))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        state, states = torch.zeros(input_ids.shape[0], 4), []
        for place in range(input_ids.shape[1]):
            state = state * 0.5 + self.words(input_ids[:, place]) * attention_mask[:, place, None]
            states.append(state)
        last = attention_mask.sum(1) - 1
        kept = torch.stack(states, 1)
        return {"states": kept, "last": kept.gather(1, last[:, None, None].expand(-1, 1, 4))[:, 0]}


def texts(rows: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, 20, (rows, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[0, length // 2 + 1 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def test_a_graph_of_one_length_answers_shorter_texts_as_the_model_does_and_refuses_longer_ones(tmp_path: Path) -> None:
    module, given = Looping(), texts(2, 5)
    free = {name: {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO} for name in given}
    with torch.no_grad(), fixed_length.filled_up(module, given, LENGTH):
        program = torch.export.export(module, (), given, dynamic_shapes=free, strict=False)
        torch.onnx.export(program, (), str(tmp_path / "graph.onnx"), dynamo=True)
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx", providers=["CPUExecutionProvider"])
    for rows, length in ((3, 3), (1, 2), (4, LENGTH)):
        batch = texts(rows, length)
        wanted = module(**batch)
        found = session.run(None, {name: value.numpy() for name, value in batch.items()})
        assert [one.shape for one in found] == [(rows, length, 4), (rows, 4)]
        for mine, theirs in zip(found, wanted.values(), strict=True):
            assert np.allclose(mine, theirs.detach().numpy(), atol=1e-6)
    with pytest.raises(Exception, match="Expand"):
        session.run(None, {name: value.numpy() for name, value in texts(2, LENGTH + 1).items()})


def test_outside_the_module_is_as_it_was() -> None:
    module, given = Looping(), texts(2, 5)
    with fixed_length.filled_up(module, given, LENGTH):
        assert module(**given)["states"].shape == (2, 5, 4)
    assert module(**texts(2, LENGTH + 3))["states"].shape == (2, LENGTH + 3, 4)


@pytest.mark.parametrize(("limit", "length"), [(None, 512), (128, 128), (32_768, 512)])
def test_the_length_is_the_longest_that_tasks_ask_for(limit: int | None, length: int) -> None:
    assert fixed_length.length_for(Model(ref=factories.model(), path="", max_length=limit)) == length


def test_only_what_reads_texts_is_tried_with_one_length(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.resolve(str(tiny_bert), task="feature-extraction")
    assert [way.one_length for way in export._ways(model, "openvino")] == [False, True]
    monkeypatch.setattr(export, "_reads_text", lambda model: False)
    assert [way.one_length for way in export._ways(model, "openvino")] == [False]
    monkeypatch.setattr(export, "_generates", lambda model: True)
    assert not any(way.one_length for form in ("onnx", "openvino") for way in export._ways(model, form))


def test_a_shape_that_is_longer_than_the_graph_is_refused_in_words() -> None:
    artifact = Artifact(format="onnx", path="", sha256="", bytes=0, longest=512)
    job = Job(
        case=factories.record().case, model=Model(ref=factories.model(), path=""), target=targets.load()["cpu"],
        round=1, artifact=artifact, inputs="", threads=1,
        shapes=(Shape(batch=1, length=32), Shape(batch=1, length=600)),
    )  # fmt: skip
    opened = Open(job=job, backend="optibench.backends.fake", task="optibench.tasks.fill_mask", started_ns=0)
    reply = Worker().answer(opened)
    assert reply["kind"] == "failed"
    assert reply["error"] == "its graph takes texts of up to 512 tokens, and --length asks for 600"


@pytest.mark.slow
def test_a_build_of_one_length_says_so_on_every_report_and_in_its_readme(optibench: Optibench, tmp_path: Path) -> None:
    folder = ZOO["MiniMax"].write(tmp_path / "minimax")
    options = ["--backends", "openvino", "--precisions", "fp32", "--length", "16", "--limit", "20"]
    out = optibench(
        "compare", folder, *options, "--rounds", "1", "--budget", "20s", "--json", "--out", tmp_path / "run"
    )
    assert out.returncode == 0, out.stderr
    cases = {case["case"]: case for case in json.loads(out.stdout)["cases"]}
    assert cases["cpu/openvino/fp32"]["status"] == "ok"
    (note,) = [note for note in cases["cpu/openvino/fp32"]["notes"] if "one length" in note]
    assert "up to 130 tokens" in note
    assert cases["cpu/openvino/fp32"]["parity"]["cosine"] > 0.9999
    made = optibench("export", folder, "--backend", "openvino", "--precision", "fp32", "--out", tmp_path / "made")
    assert made.returncode == 0, made.stderr
    assert note[1:] in (tmp_path / "made" / "README.md").read_text().replace("\n", " ")
