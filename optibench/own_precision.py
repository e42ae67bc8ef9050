"""The precision that a finished graph is in already: a stranger's file may have been quantized before it came here."""

from __future__ import annotations

import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optibench.values import Model

QUANTIZING = (
    # Operators that quantize activations, or take them quantized: ONNX's, and ONNX Runtime's own.
    *("QuantizeLinear", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
    *("MatMulInteger", "MatMulIntegerToFloat", "ConvInteger", "QLinearMatMul", "QLinearConv", "QGemm", "QAttention"),
)
COMPRESSED = {"i8": "int8-weights", "u8": "int8-weights", "i4": "int4-weights", "u4": "int4-weights"}


def of(model: Model) -> str:
    """int8, or int8-weights or int4-weights where the weights alone are integers; fp32 of a graph of floats, which can
    be run in any precision, and of a checkpoint."""
    if not model.is_graph:
        return "fp32"
    return of_file(Path(model.path))


def of_file(path: Path) -> str:
    """The same of a graph's file."""
    return _of_openvino(path) if path.suffix == ".xml" else _of_onnx(path)


def tried(own: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The precisions that are tried where nobody says any: of what is quantized already its own alone."""
    return usual if own == "fp32" else (own,)


def why_not(precision: str, own: str) -> str | None:
    """Why a model that is in its ``own`` precision already is not built in another one; None if it can be."""
    if own in ("fp32", precision):
        return None
    return f"this file is quantized already: it is run as it is, in {own}"


def _of_onnx(path: Path) -> str:
    import onnx

    loaded = onnx.load(path, load_external_data=False)
    whole = {tensor.name: tensor.data_type for tensor in loaded.graph.initializer}
    found = "fp32"
    for node in nodes_of(loaded.graph):
        if node.op_type in QUANTIZING:
            return "int8"
        if node.op_type == "MatMulNBits":
            found = f"int{next((a.i for a in node.attribute if a.name == 'bits'), 4)}-weights"
        elif node.op_type == "DequantizeLinear" and node.input[0] in whole:
            four = whole[node.input[0]] in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
            found = "int4-weights" if four else "int8-weights"
    return found


def nodes_of(graph: Any) -> Iterator[Any]:
    """The nodes of an ONNX graph or function, and of the branches and loops inside."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def _of_openvino(path: Path) -> str:
    """By its quantizers; where there are none, by what most bytes of its constants are."""
    sizes: dict[str, int] = {}
    for layer in xml.etree.ElementTree.parse(path).getroot().iter("layer"):  # noqa: S314 (expat expands no entities)
        if layer.get("type") == "FakeQuantize":
            return "int8"
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None:
            kind = data.get("element_type", "")
            sizes[kind] = sizes.get(kind, 0) + int(data.get("size", 0))
    most = max(sizes, key=lambda kind: sizes[kind], default="")
    return COMPRESSED.get(most, "fp32")
