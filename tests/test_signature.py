"""Inputs for a stranger's graph, and rewrites of quantized graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from optibench import qdq
from optibench.errors import OptibenchError
from optibench.signature import Sizes, asked_sizes, fixed_sizes, inputs_for, signature_of
from optibench.values import Shape


def graph(folder: Path, inputs: dict[str, tuple[int, list[Any]]]) -> Path:
    """A graph of these inputs (name to element type and shape), each passed through."""
    ports = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    outs = [helper.make_tensor_value_info(f"{name}_out", kind, shape) for name, (kind, shape) in inputs.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in inputs]
    model = helper.make_model(helper.make_graph(nodes, "g", ports, outs), opset_imports=[helper.make_opsetid("", 20)])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(model.graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_text_graph_gets_tokens_masks_and_types_of_the_asked_shape(tmp_path: Path) -> None:
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    signature = signature_of(graph(tmp_path, {name: (TensorProto.INT64, ["b", "n"]) for name in names}))
    made = inputs_for(signature, Shape(batch=2, length=7), seed=0)
    assert all(array.shape == (2, 7) for array in made.values())
    assert made["attention_mask"].all()
    assert not made["token_type_ids"].any()
    assert made["position_ids"][0].tolist() == list(range(7))
    assert made["input_ids"].min() >= 0


def test_a_picture_graph_keeps_its_fixed_sizes(tmp_path: Path) -> None:
    signature = signature_of(graph(tmp_path, {"pixel_values": (TensorProto.FLOAT, ["b", 3, 8, 8])}))
    made = inputs_for(signature, Shape(batch=4, length=128), seed=0)
    assert made["pixel_values"].shape == (4, 3, 8, 8)
    assert made["pixel_values"].dtype == np.float32


def test_a_size_that_cannot_be_guessed_names_the_input(tmp_path: Path) -> None:
    signature = signature_of(graph(tmp_path, {"audio": (TensorProto.FLOAT, ["b", "samples"])}))
    with pytest.raises(OptibenchError, match=r"'audio'.*free axis 1"):
        inputs_for(signature, Shape(batch=1, length=16), seed=0)


@pytest.mark.parametrize(
    ("inputs", "batch", "length"),
    [
        ({"ids": (TensorProto.INT64, ["b", "n"]), "mask": (TensorProto.INT32, ["b", "n"])}, None, None),
        ({"ids": (TensorProto.INT64, [1, 64])}, 1, 64),
        ({"ids": (TensorProto.INT64, ["b", 64])}, None, 64),
        ({"pixels": (TensorProto.FLOAT, [4, 3, 8, 8])}, 4, 0),
        ({"pixels": (TensorProto.FLOAT, ["b", 3, 8, 8])}, None, 0),
    ],
)
def test_the_sizes_that_a_graph_fixes_are_told(
    tmp_path: Path, inputs: dict[str, Any], batch: int | None, length: int | None
) -> None:
    assert fixed_sizes(signature_of(graph(tmp_path, inputs))) == Sizes(batch=batch, length=length)


def test_a_size_is_the_graphs_own_and_no_other_may_be_asked_for() -> None:
    assert asked_sizes("batch", "--batch", (), 4) == (4,)
    assert asked_sizes("batch", "--batch", (1, 8), None) == (1, 8)
    with pytest.raises(OptibenchError, match=r"a batch of 4 only.*Leave --batch out"):
        asked_sizes("batch", "--batch", (8,), 4)
    with pytest.raises(OptibenchError, match="no length: it reads no text"):
        asked_sizes("length", "--length", (32,), 0)


def test_a_weight_that_an_old_file_lists_among_its_inputs_is_none(tmp_path: Path) -> None:
    path = graph(tmp_path, {"x": (TensorProto.FLOAT, [1, 3]), "w": (TensorProto.FLOAT, [1, 3])})
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 3), np.float32), "w"))
    onnx.save(model, path)
    assert [one.name for one in signature_of(path)] == ["x"]


def test_a_graph_without_inputs_is_refused(tmp_path: Path) -> None:
    path = graph(tmp_path, {"w": (TensorProto.FLOAT, [1, 3])})
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 3), np.float32), "w"))
    onnx.save(model, path)
    with pytest.raises(OptibenchError, match="has no inputs"):
        signature_of(path)


def test_openvino_weights_that_are_cut_off_are_told_in_its_own_words(tmp_path: Path) -> None:
    import openvino

    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy"]
    made = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "a.onnx")
    openvino.save_model(openvino.convert_model(tmp_path / "a.onnx"), tmp_path / "a.xml")
    (tmp_path / "a.bin").write_bytes(b"short")
    with pytest.raises(OptibenchError, match=r"a\.xml cannot be read by OpenVINO: .*Fetch or save it again"):
        signature_of(tmp_path / "a.xml")


def test_an_input_that_is_no_number_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match="'words' is of the type string"):
        signature_of(graph(tmp_path, {"words": (TensorProto.STRING, ["b"])}))


def run(model: onnx_ir.Model, feeds: dict[str, np.ndarray]) -> list[Any]:
    proto = onnx_ir.to_proto(model)
    return list(onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds))


def quantized_matmul() -> onnx_ir.Model:
    """x (int8 activations) times a weight, as NNCF writes it."""
    scale, zero = numpy_helper.from_array(np.float32(0.05), "s"), numpy_helper.from_array(np.int8(-3), "z")
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    made = helper.make_graph(nodes, "g", ports[:1], ports[1:], [scale, zero, weight])
    return onnx_ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))


def test_unsigned_activations_are_the_same_numbers() -> None:
    x = {"x": np.random.default_rng(0).normal(0, 3, (5, 4)).astype(np.float32)}
    before = run(quantized_matmul(), x)
    after = qdq.unsigned_activations(quantized_matmul())
    assert [i.const_value.dtype for i in after.graph.initializers.values() if i.name == "z_u8"] == [
        onnx_ir.DataType.UINT8
    ]
    np.testing.assert_array_equal(run(after, x)[0], before[0])


def test_embeddings_as_int8_rows_lose_less_than_half_a_step() -> None:
    table = np.random.default_rng(0).normal(0, 1, (400, 16)).astype(np.float32)
    nodes = [helper.make_node("Gather", ["t", "ids"], ["looked"]), helper.make_node("Identity", ["looked"], ["y"])]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])
    made = helper.make_graph(nodes, "g", [ids], [out], [numpy_helper.from_array(table, "t")])
    model = onnx_ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    rows = np.array([0, 7, 399])
    found = run(qdq.int8_embeddings(model), {"ids": rows})[0]
    step = np.abs(table[rows]).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - table[rows]) <= step / 2 + 1e-6).all()


def test_a_transposed_weight_becomes_a_weight_of_its_own() -> None:
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    made = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(weight, "w")])
    model = onnx_ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    folded = qdq.folded_transposes(model)
    assert [node.op_type for node in folded.graph] == ["MatMul"]
    np.testing.assert_array_equal(run(folded, {"x": np.eye(4, dtype=np.float32)})[0], weight.T)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("biased", [True, False])
def test_a_gemm_by_a_fixed_weight_becomes_a_product_that_can_be_quantized(turned: int, biased: bool) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", *(["b"] if biased else [])], ["h"], transB=turned),
        helper.make_node("Relu", ["h"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    stored = [numpy_helper.from_array(weight.T.copy() if turned else weight, "w")]
    stored += [numpy_helper.from_array(bias, "b")] if biased else []
    made = helper.make_graph(nodes, "g", [x], [y], stored)
    model = onnx_ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    split = qdq.products_of_gemms(model)
    assert [node.op_type for node in split.graph] == ["MatMul", *(["Add"] if biased else []), "Relu"]
    assert "w" not in split.graph.initializers
    given = rng.normal(size=(2, 3)).astype(np.float32)
    wanted = np.maximum(given @ weight + (bias if biased else 0), 0)
    np.testing.assert_allclose(run(split, {"x": given})[0], wanted, atol=1e-6)
