"""An ONNX graph in fp32 made into fp16 or bf16, for runtimes in which the file decides every tensor's precision.

The rule is ONNX's own: where an operator's schema lets it take and give half precision it does, else it stays in fp32
between casts. Sums and powers stay in fp32, as in PyTorch's autocast. The graph's inputs and outputs keep their types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from optibench.errors import Unsupported

KINDS = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
WIDE = ("CumSum", "Exp", "Log", "Pow", "ReduceL2", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "ReduceSumSquare")
"""What PyTorch's autocast runs in float32 (torch docs, "Ops that can autocast to float32") and ONNX has by a name."""
SMALLEST_SCALE = 6e-8
"""fp16's smallest number: a scale of zero would divide by zero."""


def narrowed(model: ir.Model, precision: str) -> ir.Model:
    """The model with its fp32 tensors in ``precision`` (fp16 or bf16). Raises Unsupported for control flow."""
    import onnx_ir.passes.common as passes

    passes.InlinePass()(model)
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    if any(v.dtype is None for node in model.graph for v in node.outputs if v.uses()):
        passes.ShapeInferencePass()(model)
    _Narrower(model, KINDS[precision]).run()
    passes.RemoveUnusedNodesPass()(model)
    return model


class _Narrower:
    """One pass over the nodes in order; ``cast`` remembers each value's other form."""

    def __init__(self, model: ir.Model, kind: ir.DataType) -> None:
        self.graph = model.graph
        self.opsets = model.opset_imports
        self.kind = kind
        self.cast: dict[ir.Value, ir.Value] = {}

    def run(self) -> None:
        for node in list(self.graph):
            if any(attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in _of(node)):
                raise Unsupported(f"a graph with control flow ({node.op_type}) is not made into half precision")
            takes, gives = self._schema(node)
            narrow = node.op_type not in WIDE and all(gives(i) for i, v in enumerate(node.outputs) if _is_float(v))
            for number, value in enumerate(node.inputs):
                if value is not None and value.dtype in (ir.DataType.FLOAT, self.kind):
                    wanted = self.kind if narrow and takes(number) else ir.DataType.FLOAT
                    if value.dtype != wanted:
                        node.replace_input_with(number, self._as(value, wanted, node))
            if narrow:
                self._mark(node)
        for number, output in enumerate(self.graph.outputs):
            if output.dtype == self.kind:
                self.graph.outputs[number] = self._output(output)

    def _schema(self, node: ir.Node) -> tuple[Callable[[int], bool], Callable[[int], bool]]:
        """Whether input ``i`` and output ``i`` may be of half precision, by the operator's schema."""
        import onnx

        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
        except onnx.defs.SchemaError:
            return lambda i: False, lambda i: False
        allowed = {c.type_param_str: "tensor(float16)" in c.allowed_type_strs for c in schema.type_constraints}

        def may(formals: Sequence[Any]) -> Callable[[int], bool]:
            # The last one may be variadic.
            return lambda number: allowed.get(formals[min(number, len(formals) - 1)].type_str, False)

        return may(schema.inputs), may(schema.outputs)

    def _as(self, value: ir.Value, kind: ir.DataType, before: ir.Node) -> ir.Value:
        if value not in self.cast:
            if value.is_initializer():
                self.cast[value] = self._initializer(value, kind)
            else:
                node = ir.node("Cast", [value], attributes={"to": int(kind)})
                node.name = node.outputs[0].name = f"{value.name}_{kind.name.lower()}"
                node.outputs[0].shape, node.outputs[0].type = value.shape, ir.TensorType(kind)
                self.graph.insert_before(before, node)
                self.cast[value] = node.outputs[0]
        return self.cast[value]

    def _initializer(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        array = value.const_value.numpy()
        limit = float(np.finfo(np.float16).max) if kind == ir.DataType.FLOAT16 else 3.38e38
        # A mask's lowest fp32 would become -inf, and rows of it NaN.
        array = np.where(np.isfinite(array), np.clip(array, -limit, limit), array)
        if kind == ir.DataType.FLOAT16 and any(u.op_type.endswith("izeLinear") and i == 1 for u, i in value.uses()):
            array = np.maximum(array, SMALLEST_SCALE)
        tensor = ir.tensor(array.astype(kind.numpy()), dtype=kind, name=f"{value.name}_{kind.name.lower()}")
        made = ir.Value(name=tensor.name, shape=tensor.shape, type=ir.TensorType(kind), const_value=tensor)
        self.graph.register_initializer(made)
        return made

    def _mark(self, node: ir.Node) -> None:
        """The node's outputs are narrow now, and what it says of its output's type too."""
        for output in node.outputs:
            if _is_float(output):
                output.type = ir.TensorType(self.kind)
        for name in ("to", "dtype", "output_dtype"):
            if name in node.attributes and node.attributes[name].as_int() == int(ir.DataType.FLOAT):
                node.attributes[name] = ir.AttrInt64(name, int(self.kind))
        if node.op_type == "ConstantOfShape":
            old = (
                node.attributes["value"].as_tensor().numpy() if "value" in node.attributes else np.zeros(1, np.float32)
            )
            if old.dtype == np.float32:
                tensor = ir.tensor(old.astype(self.kind.numpy()), dtype=self.kind)
                node.attributes["value"] = ir.AttrTensor("value", tensor)

    def _output(self, value: ir.Value) -> ir.Value:
        """The graph's output under its old name and type, behind a cast."""
        name, producer = value.name, value.producer()
        assert producer is not None, "an input that is an output keeps its type"
        value.name = f"{name}_{self.kind.name.lower()}"
        node = ir.node("Cast", [value], attributes={"to": int(ir.DataType.FLOAT)})
        node.name, node.outputs[0].name = f"{name}_out", name
        node.outputs[0].shape, node.outputs[0].type = value.shape, ir.TensorType(ir.DataType.FLOAT)
        self.graph.append(node)
        return node.outputs[0]


def _of(node: ir.Node) -> list[ir.Attr]:
    return [attribute for attribute in node.attributes.values() if isinstance(attribute, ir.Attr)]


def _is_float(value: ir.Value) -> bool:
    return bool(value.dtype == ir.DataType.FLOAT)
