"""Rewrites of quantized ONNX graphs into the form that a runtime's kernels take."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def folded_transposes(model: ir.Model) -> ir.Model:
    """Transposed weights (a tied head's, shared layers') as weights of their own: quantizers take a MatMul only if its
    weight is an initializer, and the exporter's optimizer leaves large ones behind a Transpose."""
    for node in list(model.graph):
        if node.op_type != "Transpose" or node.outputs[0].is_graph_output():
            continue
        weight, old = node.inputs[0], node.outputs[0]
        if weight is None or not weight.is_initializer() or weight.const_value is None:
            continue
        axes = node.attributes["perm"].as_ints() if "perm" in node.attributes else None
        turned = np.transpose(weight.const_value.numpy(), axes).copy()  # a view would keep the weights' file open
        new = _initializer(model.graph, f"{old.name}_folded", turned)
        ir.convenience.replace_all_uses_with(old, new)
        model.graph.remove(node, safe=True)
    return model


def products_of_gemms(model: ir.Model) -> ir.Model:
    """A Gemm by a fixed weight as the MatMul and Add that it is: MatMulNBits takes a MatMul's place alone, and GPT-2's
    layers are all Gemms."""
    for node in list(model.graph):
        if node.op_type != "Gemm" or node.domain or node.outputs[0].is_graph_output():
            continue
        set_to = {name: value.value for name, value in node.attributes.items()}
        left, weight, *rest = node.inputs
        added = [one for one in rest if one is not None]
        if (
            weight is None
            or not weight.is_initializer()
            or weight.const_value is None
            or set_to.get("transA", 0)
            or set_to.get("alpha", 1.0) != 1.0
            or (added and set_to.get("beta", 1.0) != 1.0)
        ):
            continue
        values, old = weight.const_value.numpy(), node.outputs[0]
        right = np.array(values.T if set_to.get("transB", 0) else values, order="C")
        made = [ir.node("MatMul", [left, _initializer(model.graph, f"{old.name}_weight", right)])]
        made += [ir.node("Add", [made[0].outputs[0], one]) for one in added]
        for new in made:
            new.name = f"{node.name}_{new.op_type}"
            new.outputs[0].name, new.outputs[0].type = f"{old.name}_{new.op_type}", old.type
        made[-1].outputs[0].shape = old.shape
        model.graph.insert_before(node, made)
        ir.convenience.replace_all_uses_with(old, made[-1].outputs[0])
        model.graph.remove(node, safe=True)
        if not weight.uses():
            del model.graph.initializers[weight.name]
    return model


def unsigned_activations(model: ir.Model) -> ir.Model:
    """int8 activations to uint8 (zero point + 128), the same numbers: on x86, ONNX Runtime turns only uint8 activations
    into integer kernels, and its own conversion skips a QuantizeLinear that several MatMul share."""
    moved: dict[str, ir.Value] = {}

    def shifted(zero: ir.Value) -> ir.Value:
        if zero.name not in moved:
            moved[zero.name] = _initializer(
                model.graph, f"{zero.name}_u8", (zero.const_value.numpy().astype(np.int16) + 128).astype(np.uint8)
            )
        return moved[zero.name]

    for node in list(model.graph):
        if node.op_type != "QuantizeLinear" or len(node.inputs) < 3:
            continue
        zero, out = node.inputs[2], node.outputs[0]
        users = [user for user, _ in out.uses()]
        if (
            zero.const_value is None
            or zero.const_value.dtype != ir.DataType.INT8
            or zero.const_value.size != 1
            or out.is_graph_output()
            or any(user.op_type != "DequantizeLinear" for user in users)
        ):
            continue
        for each in (node, *users):
            each.replace_input_with(2, shifted(each.inputs[2]))
        out.type = ir.TensorType(ir.DataType.UINT8)
    return model


def positive_scales(model: ir.Model) -> ir.Model:
    """4-bit weights' negative scales made positive, their values negated: NNCF makes the largest weight of a block -8
    by the scale's sign, and TensorRT's parser takes no such scale. That weight becomes 7 parts of 8 of what it was."""
    for node in model.graph:
        if node.op_type != "DequantizeLinear" or node.inputs[0].dtype != ir.DataType.INT4:
            continue
        weight, scale = node.inputs[0], node.inputs[1]
        scales, axis = scale.const_value.numpy(), node.attributes["axis"].as_int()
        signs = np.repeat(np.sign(scales).astype(np.int8), node.attributes["block_size"].as_int(), axis=axis)
        values = weight.const_value.numpy()
        turned = np.clip(values.astype(np.int8) * signs, -8, 7).astype(values.dtype)
        weight.const_value = ir.tensor(turned, dtype=ir.DataType.INT4, name=weight.name)
        scale.const_value = ir.tensor(np.abs(scales), name=scale.name)
    return model


def int8_embeddings(model: ir.Model, rows: int = 256) -> ir.Model:
    """Embedding tables as int8 rows with a scale each, multiplied back after the lookup (DequantizeLinear before it, as
    NNCF writes it, runs over the whole table at each call)."""
    graph = model.graph
    for node in list(graph):
        table = node.inputs[0] if node.op_type == "Gather" else None
        axis = node.attributes.get("axis")
        if (
            table is None
            or not table.is_initializer()
            or node.outputs[0].is_graph_output()
            or table.const_value.dtype != ir.DataType.FLOAT
            or (axis is not None and axis.as_int() != 0)
        ):
            continue
        weight = table.const_value.numpy()
        if weight.ndim != 2 or weight.shape[0] < rows or len(table.uses()) > 1:  # a shared table would be kept anyway
            continue
        scale = np.maximum(np.abs(weight).max(1, keepdims=True), 1e-12).astype(np.float32) / 127
        q = _initializer(graph, f"{table.name}_int8", np.rint(weight / scale).astype(np.int8))
        s = _initializer(graph, f"{table.name}_scale", scale)
        looked = ir.node("Gather", [q, node.inputs[1]])
        scales = ir.node("Gather", [s, node.inputs[1]])
        real = ir.node("Cast", [looked.outputs[0]], attributes={"to": int(ir.DataType.FLOAT)})
        product = ir.node("Mul", [real.outputs[0], scales.outputs[0]])
        old = node.outputs[0]
        for i, new in enumerate((looked, scales, real, product)):
            new.name, new.outputs[0].name = f"{node.name}_int8_{i}", f"{old.name}_int8_{i}"
        product.outputs[0].shape, product.outputs[0].type = old.shape, old.type
        graph.insert_before(node, [looked, scales, real, product])
        ir.convenience.replace_all_uses_with(old, product.outputs[0])
        graph.remove(node, safe=True)
        del graph.initializers[table.name]
    return model


def _initializer(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
