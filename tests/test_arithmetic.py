"""Multiply-adds of one call: the same by closed formula, by the checkpoint, and by every graph made from it."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from optibench import checkpoint, export, models, operators, plugins, targets
from optibench.arithmetic import count, multiply_adds_of_module
from optibench.arrays import save
from optibench.cache import Cache
from optibench.errors import Uncountable
from optibench.values import Build, Model, Shape

LAYERS, HIDDEN, INNER = 2, 64, 128


def ids(shape: Shape) -> dict[str, np.ndarray]:
    ones = np.ones((shape.batch, shape.length), np.int64)
    return {"input_ids": ones * 7, "attention_mask": ones, "token_type_ids": ones * 0}


def bert(shape: Shape) -> int:
    """By hand: four projections and two inner products a token, attention's two a pair of tokens, and the pooler."""
    tokens = shape.length * (4 * HIDDEN**2 + 2 * HIDDEN * INNER) + 2 * shape.length**2 * HIDDEN
    return shape.batch * (LAYERS * tokens + HIDDEN**2)


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> Model:
    return models.resolve(str(tiny_bert))


def test_a_bert_is_counted_as_the_closed_formula_says_at_every_shape(model: Model, tmp_path: Path) -> None:
    shapes = (Shape(batch=1, length=24), Shape(batch=3, length=11))
    for shape in shapes:
        save(tmp_path / f"shape-{shape.name}.npz", [ids(shape)])
    counted = count(model, tmp_path, shapes)
    assert counted["multiply_adds"] == {shape.name: bert(shape) for shape in shapes}
    assert counted["weights"] == LAYERS * (4 * HIDDEN**2 + 2 * HIDDEN * INNER) + HIDDEN**2 + biases()


def biases() -> int:
    return LAYERS * (5 * HIDDEN + INNER) + HIDDEN


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_counts_alike_whichever_way_it_is_computed(model: Model, attention: str) -> None:
    module = checkpoint.load(model)
    module.set_attn_implementation(attention)
    shape = Shape(batch=2, length=9)
    assert multiply_adds_of_module(module, checkpoint.accepted(module, ids(shape)))[0] == bert(shape)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_an_export_has_the_same_count_as_its_checkpoint(
    model: Model, cache_root: Path, tmp_path: Path, form: str
) -> None:
    from optibench import inputs
    from optibench.values import Workload

    cache, workload = Cache(cache_root), Workload(shapes=(Shape(batch=1, length=24), Shape(batch=3, length=11)))
    rows = inputs.rows_of(model, workload)
    made = cache.get_or_make(
        "inputs", inputs.recipe(model, workload, rows.sources), lambda f: inputs.make(f, model, workload, rows)
    )
    backend = "onnxruntime" if form == "onnx" else form
    build = Build(
        model=model, target=targets.load()["cpu"], backend=backend, precision="fp32",
        inputs=str(cache.path(made.key)), calibration_sha256=rows.sources.calibration.sha256,
    )  # fmt: skip
    entry = export.exported(build, form, cache, plugins.load("backend", backend).run_file)
    file = export.graph_file(cache.path(entry.key), form)
    of_graph = operators.multiply_adds_of_onnx if form == "onnx" else operators.multiply_adds_of_openvino
    for shape in (Shape(batch=1, length=24), Shape(batch=4, length=7)):
        assert of_graph(file, ids(shape)) == bert(shape)


class Recurrent(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(8, 16, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.lstm(x)


def test_an_operator_that_the_counter_does_not_know_is_a_reason_and_no_count() -> None:
    with pytest.raises(Uncountable, match="rnn"):
        multiply_adds_of_module(Recurrent(), {"x": torch.ones(2, 5, 8)})


# Graphs


def graph(tmp_path: Path, node: Any, inputs: dict[str, list[int]], weights: dict[str, list[int]]) -> Path:
    rng = np.random.default_rng(0)
    made = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(rng.random(s, np.float32), name) for name, s in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=9), tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


NODES = [
    (helper.make_node("MatMul", ["x", "w"], ["y"], "n"), [3, 5, 8], {"w": [8, 4]}, 3 * 5 * 8 * 4),
    (helper.make_node("Gemm", ["x", "w"], ["y"], "n", transB=1), [3, 8], {"w": [4, 8]}, 3 * 8 * 4),
    (helper.make_node("Gemm", ["x", "w"], ["y"], "n", transA=1), [8, 3], {"w": [8, 4]}, 3 * 8 * 4),
    (helper.make_node("Conv", ["x", "w"], ["y"], "n"), [1, 4, 8, 8], {"w": [6, 4, 3, 3]}, 6 * 6 * 6 * 4 * 9),
    (helper.make_node("Conv", ["x", "w"], ["y"], "n", group=4), [1, 4, 8, 8], {"w": [4, 1, 3, 3]}, 4 * 6 * 6 * 9),
    (helper.make_node("ConvTranspose", ["x", "w"], ["y"], "n"), [1, 4, 8], {"w": [4, 6, 3]}, 4 * 8 * 6 * 3),
    (helper.make_node("Einsum", ["x", "w"], ["y"], "n", equation="ik,kj->ij"), [3, 8], {"w": [8, 4]}, 3 * 8 * 4),
    (
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], "n", hidden_size=4),
        [5, 2, 8], {"w": [1, 16, 8], "r": [1, 16, 4]}, 5 * 2 * (16 * 8 + 16 * 4),
    ),
    (
        helper.make_node("FusedMatMul", ["x", "w"], ["y"], "n", domain="com.microsoft", transA=1),
        [8, 3], {"w": [8, 4]}, 3 * 8 * 4,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("node", "shape", "weights", "expected"), NODES, ids=[f"{n[0].op_type}" for n in NODES])
def test_an_onnx_operator_is_counted_by_what_went_in_and_came_out(
    tmp_path: Path, node: Any, shape: list[int], weights: dict[str, list[int]], expected: int
) -> None:
    file = graph(tmp_path, node, {"x": shape}, weights)
    assert operators.multiply_adds_of_onnx(file, {"x": np.ones(shape, np.float32)}) == expected


@pytest.mark.parametrize(
    ("node", "shape", "weights", "expected"),
    [n for n in NODES if not n[0].domain],
    ids=[n[0].op_type for n in NODES if not n[0].domain],
)
def test_openvino_counts_the_same_operators_alike(
    tmp_path: Path, node: Any, shape: list[int], weights: dict[str, list[int]], expected: int
) -> None:
    import openvino

    file = graph(tmp_path, node, {"x": shape}, weights)
    openvino.save_model(openvino.convert_model(file), tmp_path / "g.xml", compress_to_fp16=False)
    assert operators.multiply_adds_of_openvino(tmp_path / "g.xml", {"x": np.ones(shape, np.float32)}) == expected


@pytest.mark.parametrize("kind", ["MultiHeadAttention", "Attention"])
def test_a_strangers_operator_is_a_reason_and_no_count_even_under_a_standard_name(tmp_path: Path, kind: str) -> None:
    node = helper.make_node(kind, ["x", "x", "x"], ["y"], "n", domain="com.microsoft", num_heads=2)
    file = graph(tmp_path, node, {"x": [1, 4, 8]}, {})
    with pytest.raises(Uncountable, match=rf"com\.microsoft\.{kind}"):
        operators.multiply_adds_of_onnx(file, {"x": np.ones((1, 4, 8), np.float32)})


def test_three_operands_of_einsum_are_not_guessed() -> None:
    assert operators.of_einsum("ij,jk->ik", [[2, 3], [3, 4]]) == prod((2, 3, 4))
    assert operators.of_einsum("ij->ji", [[2, 3]]) == 0
    with pytest.raises(Uncountable, match="Einsum"):
        operators.of_einsum("ij,jk,kl->il", [[2, 3], [3, 4], [4, 5]])
