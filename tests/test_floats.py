"""fp32 graphs made into half precision: what becomes narrow, what stays, and that the answers hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import helper as h
from onnx import numpy_helper

from optibench.errors import Unsupported
from optibench.floats import narrowed

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def graph(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], rows: int = 4) -> ir.Model:
    made = h.make_graph(
        nodes,
        "g",
        [h.make_tensor_value_info("x", FLOAT, ["n", rows])],
        [h.make_tensor_value_info("y", FLOAT, ["n", "m"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.from_proto(h.make_model(made, opset_imports=[h.make_opsetid("", 20)], ir_version=10))


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def test_products_are_narrow_and_inputs_and_outputs_keep_their_types() -> None:
    weight = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    model = graph([h.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight})
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    narrow = narrowed(model, "fp16")
    assert [v.dtype for v in (*narrow.graph.inputs, *narrow.graph.outputs)] == [ir.DataType.FLOAT] * 2
    product = next(node for node in narrow.graph if node.op_type == "MatMul")
    assert {v.dtype for v in (*product.inputs, *product.outputs)} == {ir.DataType.FLOAT16}
    np.testing.assert_allclose(run(narrow, x), x @ weight, atol=0.01)


def test_powers_and_sums_stay_in_fp32_so_that_squares_do_not_overflow() -> None:
    nodes = [
        h.make_node("Mul", ["x", "one"], ["m"]),
        h.make_node("Pow", ["m", "two"], ["p"]),
        h.make_node("ReduceMean", ["p", "axis"], ["s"], keepdims=1),
        h.make_node("Sqrt", ["s"], ["r"]),
        h.make_node("Div", ["m", "r"], ["y"]),
    ]
    constants = {"one": np.ones(1, np.float32), "two": np.float32([2]), "axis": np.int64([1])}
    x = np.float32([[300.0, -200.0, 250.0, 100.0]])
    wanted = x / np.sqrt((x**2).mean())
    assert float(np.finfo(np.float16).max) < 300.0**2
    np.testing.assert_allclose(run(narrowed(graph(nodes, constants), "fp16"), x), wanted, rtol=0.01)


def test_a_masks_lowest_number_does_not_become_minus_infinity() -> None:
    lowest = np.full((1, 4), np.finfo(np.float32).min, np.float32)
    nodes = [h.make_node("Mul", ["x", "m"], ["a"]), h.make_node("Softmax", ["a"], ["y"], axis=1)]
    answer = run(narrowed(graph(nodes, {"m": lowest}), "fp16"), np.ones((1, 4), np.float32))
    np.testing.assert_allclose(answer, np.full((1, 4), 0.25), atol=1e-3)


def test_what_an_operators_schema_wants_in_fp32_stays_so() -> None:
    model = graph(
        [
            h.make_node("Unsqueeze", ["x", "axes"], ["u"]),
            h.make_node("Resize", ["u", "", "scales"], ["z"], mode="nearest"),
            h.make_node("Squeeze", ["z", "axes"], ["y"]),
        ],
        {"axes": np.int64([0, 1]), "scales": np.float32([1, 1, 1, 2])},
    )
    narrow = narrowed(model, "fp16")
    resize = next(node for node in narrow.graph if node.op_type == "Resize")
    assert (resize.inputs[0].dtype, resize.inputs[2].dtype) == (ir.DataType.FLOAT16, ir.DataType.FLOAT)
    np.testing.assert_allclose(run(narrow, np.float32([[1, 2, 3, 4]])), [[1, 1, 2, 2, 3, 3, 4, 4]])


@pytest.mark.parametrize("kind", ["Cast", "ConstantOfShape"])
def test_what_says_fp32_of_its_output_says_the_half_precision(kind: str) -> None:
    value = h.make_tensor("v", FLOAT, [1], [2.0])
    first = {
        "Cast": [
            h.make_node("Cast", ["x"], ["i"], to=onnx.TensorProto.INT64),
            h.make_node("Cast", ["i"], ["c"], to=FLOAT),
        ],
        "ConstantOfShape": [
            h.make_node("Shape", ["x"], ["i"]),
            h.make_node("ConstantOfShape", ["i"], ["c"], value=value),
        ],
    }[kind]
    model = graph([*first, h.make_node("Mul", ["x", "c"], ["y"])], {})
    x = np.float32([[1, 2, 3, 4]])
    np.testing.assert_allclose(run(narrowed(model, "fp16"), x), x * (x if kind == "Cast" else 2))


def test_control_flow_is_refused_with_the_reason() -> None:
    branch = h.make_graph(
        [h.make_node("Identity", ["x"], ["b"])], "b", [], [h.make_tensor_value_info("b", FLOAT, None)]
    )
    node = h.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(Unsupported, match=r"control flow .If."):
        narrowed(graph([node], {"c": np.array(True)}), "fp16")


def test_bf16_is_written_where_fp16_would_be(tmp_path: Path) -> None:
    weight = np.ones((4, 8), np.float32)
    narrow = narrowed(graph([h.make_node("MatMul", ["x", "w"], ["y"])], {"w": weight}), "bf16")
    product = next(node for node in narrow.graph if node.op_type == "MatMul")
    assert {v.dtype for v in (*product.inputs, *product.outputs)} == {ir.DataType.BFLOAT16}
