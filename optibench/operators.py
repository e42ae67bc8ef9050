"""Multiply-adds of a finished graph's operators, from the shapes that they really have at the shape that is timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.errors import Uncountable, first_line
from optibench.own_precision import nodes_of

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

Dims = Sequence[int]


def of_product(out: Dims, depth: int) -> int:
    """A matrix product: every number that comes out is a sum of ``depth`` products."""
    return prod(out) * depth


def of_recurrent(x: Dims, *weights: Dims) -> int:
    """LSTM, GRU and RNN: at every step and row (the first two axes) all weights, of each direction, once."""
    return x[0] * x[1] * sum(map(prod, weights))


def of_attention(query: Dims, key: Dims, value: Dims) -> int:
    """softmax(query @ key') @ value, axes (batch, heads, length, size): two products."""
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def of_einsum(equation: str, operands: Sequence[Dims]) -> int:
    """Two operands: one product for each combination of all their letters. One operand is but moved or summed."""
    names = equation.partition("->")[0].replace(" ", "").split(",")
    if "." in equation or len(names) > 2:
        raise Uncountable(f"the arithmetic of Einsum {equation!r} is not known")
    letters = [pair for name, dims in zip(names, operands, strict=True) for pair in zip(name, dims, strict=True)]
    return prod(dict(letters).values()) if len(names) == 2 else 0


# ONNX

Count = Callable[[Sequence[Dims], Dims, Mapping[str, Any]], int]

ONNX: dict[str, Count] = {
    # What it takes in, what comes out, its attributes. Scales and zero points lie between a quantized one's operands.
    "MatMul": lambda i, o, a: of_product(o, i[0][-1]),
    "MatMulInteger": lambda i, o, a: of_product(o, i[0][-1]),
    "QLinearMatMul": lambda i, o, a: of_product(o, i[0][-1]),
    "Gemm": lambda i, o, a: of_product(o, prod(i[0]) // max(o[0], 1)),
    "Conv": lambda i, o, a: of_product(o, prod(i[1][1:])),
    "ConvInteger": lambda i, o, a: of_product(o, prod(i[1][1:])),
    "DeformConv": lambda i, o, a: of_product(o, prod(i[1][1:])),
    "QLinearConv": lambda i, o, a: of_product(o, prod(i[3][1:])),
    "ConvTranspose": lambda i, o, a: of_product(i[0], prod(i[1][1:])),
    "LSTM": lambda i, o, a: of_recurrent(*i[:3]),
    "GRU": lambda i, o, a: of_recurrent(*i[:3]),
    "RNN": lambda i, o, a: of_recurrent(*i[:3]),
    "Attention": lambda i, o, a: of_onnx_attention(i),
    "Einsum": lambda i, o, a: of_einsum(a["equation"].decode(), i),
}
ONNX_RUNTIME: dict[str, Count] = {
    # Its own, in the domain com.microsoft. One that is in neither list is not passed over.
    "MatMulNBits": lambda i, o, a: of_product(o, i[0][-1]),
    "MatMulIntegerToFloat": lambda i, o, a: of_product(o, i[0][-1]),
    "DynamicQuantizeMatMul": lambda i, o, a: of_product(o, i[0][-1]),
    "FusedMatMul": lambda i, o, a: of_product(o, i[0][-2 if a.get("transA") else -1]),
    "FusedConv": lambda i, o, a: of_product(o, prod(i[1][1:])),
}
ONNX_RUNTIME_LIGHT = (
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "GatherBlockQuantized", "BiasAdd"),
    *("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization"),
    *("Gelu", "FastGelu", "QuickGelu", "BiasGelu"),
)
"""Its own that multiply no matrices."""


LOOKED_UP = ("Einsum", "FusedMatMul")
"""Those whose attributes are needed: a profile tells shapes alone, so they are found by the node's name."""


def of_onnx_attention(taken: Sequence[Dims]) -> int:
    """The standard operator, where its heads are an axis and no past is joined to the keys."""
    if len(taken) > 4 or any(len(dims) != 4 for dims in taken[:3]):
        raise Uncountable("the arithmetic of an Attention with a past, or with its heads side by side, is not known")
    return of_attention(*taken[:3])


def multiply_adds_of_onnx(path: Path, inputs: Arrays) -> int:
    """Counted on the profile of one run as the file stands (nothing fused), where every operator's shapes are seen,
    those within branches and loops as often as they ran."""
    import onnx
    import onnxruntime

    from optibench.backends.onnxruntime import ONNXRuntimeSession, on_cpu, profiled

    model = onnx.load(path, load_external_data=False)
    nodes = [node for graph in (model.graph, *model.functions) for node in nodes_of(graph)]
    defined = {(function.domain, function.name) for function in model.functions}
    for node in nodes:
        own = node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in defined
        if own and node.op_type not in (*ONNX_RUNTIME, *ONNX_RUNTIME_LIGHT):
            raise Uncountable(f"the arithmetic of the operator {node.domain}.{node.op_type} is not known")
    attributes = {n.name: {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in nodes if n.name}
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.add_session_config_entry("session.disable_prepacking", "1")  # the profile leaves out weights packed before
    settings.log_severity_level = 3
    feed = ONNXRuntimeSession(path, threads=0).feed(inputs)
    total = 0
    for kernel in profiled(lambda prefix: on_cpu(path, settings, prefix), feed):
        if of_operator := (ONNX | ONNX_RUNTIME).get(kernel["op_name"]):
            taken = [dims for shaped in kernel["input_type_shape"] for dims in shaped.values()]
            out = next(dims for shaped in kernel["output_type_shape"] for dims in shaped.values())
            if kernel["op_name"] in LOOKED_UP and kernel["name"] not in attributes:
                raise Uncountable(f"an operator {kernel['op_name']} that has no name cannot be looked up")
            total += of_operator(taken, out, attributes.get(kernel["name"], {}))
    return total


# OpenVINO

OPENVINO: dict[str, Count] = {
    "MatMul": lambda i, o, a: of_product(o, i[0][-2 if a["transpose_a"] and len(i[0]) > 1 else -1]),
    "Convolution": lambda i, o, a: of_product(o, prod(i[1][1:])),
    "GroupConvolution": lambda i, o, a: of_product(o, prod(i[1][2:])),
    "ConvolutionBackpropData": lambda i, o, a: of_product(i[0], prod(i[1][1:])),
    "GroupConvolutionBackpropData": lambda i, o, a: of_product(i[0], prod(i[1][2:])),
    "LSTMSequence": lambda i, o, a: of_recurrent(i[0], *i[4:6]),
    "GRUSequence": lambda i, o, a: of_recurrent(i[0], *i[3:5]),
    "RNNSequence": lambda i, o, a: of_recurrent(i[0], *i[3:5]),
    "ScaledDotProductAttention": lambda i, o, a: of_attention(*i[:3]),
    "Einsum": lambda i, o, a: of_einsum(a["equation"], i),
}
OPENVINO_UNKNOWN = (
    *("LSTMCell", "GRUCell", "RNNCell", "BinaryConvolution", "DeformableConvolution"),
    *("TensorIterator", "Loop", "If"),
)
"""Standard ones that multiply matrices, or may hold others that do."""


def multiply_adds_of_openvino(path: Path, inputs: Arrays) -> int:
    """Counted on the graph reshaped to the inputs' shapes, which OpenVINO follows through every operator."""
    import openvino

    from optibench.backends.openvino import OpenVINOSession

    feed = OpenVINOSession(path, "CPU", {}).feed(inputs)
    model = openvino.Core().read_model(path)
    model.reshape({name: list(array.shape) for name, array in feed.items()})
    total = 0
    for node in model.get_ops():
        kind, version = node.get_type_name(), str(node.get_type_info().version_id)
        if kind in OPENVINO_UNKNOWN or not version.startswith("opset"):
            raise Uncountable(f"the arithmetic of the operator {kind} ({version}) is not known")
        if of_operator := OPENVINO.get(kind):
            try:
                taken = [list(port.get_shape()) for port in node.input_values()]
                out = list(node.output(0).get_shape())
            except RuntimeError as error:  # a size that depends on the inputs' values
                raise Uncountable(
                    f"the shape of {node.get_friendly_name()} is not fixed: {first_line(error)}"
                ) from error
            total += of_operator(taken, out, node.get_attributes())
    return total
