"""Inputs for a finished graph, made from its signature: names, element types and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench.errors import OptibenchError
from optibench.values import Model, Shape, Value

if TYPE_CHECKING:
    import numpy


class Input(Value, frozen=True, kw_only=True):
    """One input of a graph; None stands for an axis that may vary. ``kind`` is numpy's name of the element type."""

    name: str
    kind: str
    shape: tuple[int | None, ...]
    symbols: tuple[str, ...] = ()
    """What the file calls each axis that varies, such as batch ("" where it says nothing)."""
    ranked: bool = True
    """Whether the file says how many axes there are; if not, ``shape`` is empty until it is given."""
    below: int | None = None
    """Of whole numbers that pick rows of a table: how many rows it has."""


def signature_of(path: Path) -> list[Input]:
    """The graph's inputs, as its file declares them. Errors: it cannot be read, or has no inputs of numbers."""
    found = _openvino_inputs(path) if path.suffix == ".xml" else _onnx_inputs(path)
    if not found:
        raise OptibenchError(f"{path.name} has no inputs, so there is nothing to vary and nothing to time.")
    return found


def _openvino_inputs(path: Path) -> list[Input]:
    try:
        import openvino
    except ImportError as error:
        raise OptibenchError("Reading an OpenVINO file needs openvino: pip install 'optibench[openvino]'") from error
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:  # the first lines name a place in OpenVINO's code, the last ones what is wrong
        why = str(error).strip().splitlines()[-1].rstrip(".!")
        raise OptibenchError(f"{path.name} cannot be read by OpenVINO: {why}. Fetch or save it again.") from error
    return [
        Input(
            name=port.get_any_name(),
            kind=_checked_kind(port.get_any_name(), str(port.get_element_type().to_dtype())),
            shape=tuple(d.get_length() if d.is_static else None for d in _axes(port)),
            ranked=bool(port.get_partial_shape().rank.is_static),
            below=_rows_picked_by(port),
        )
        for port in model.inputs
    ]


def _rows_picked_by(port: Any) -> int | None:
    """How many rows the least of the constant tables has that a Gather picks from by this input (perhaps converted)."""
    found: list[int] = []
    for user in port.get_target_inputs():
        node = user.get_node()
        if node.get_type_name() == "Convert":
            found += filter(None, [_rows_picked_by(node.output(0))])
        elif node.get_type_name() == "Gather" and user.get_index() == 1:
            table, axis = node.input_value(0).get_partial_shape(), node.input_value(2).get_node()
            rows = table[int(axis.get_data().item())] if axis.get_type_name() == "Constant" else None
            found += [rows.get_length()] if rows is not None and rows.is_static else []
    return min(found, default=None)


def _axes(port: Any) -> Any:
    return port.get_partial_shape() if port.get_partial_shape().rank.is_static else ()


def _onnx_inputs(path: Path) -> list[Input]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}  # old files list them among the inputs
    below = _rows_picked(graph, weights)
    return [
        Input(
            name=port.name,
            kind=_numpy_kind(port),
            shape=tuple(d.dim_value if d.dim_value > 0 else None for d in port.type.tensor_type.shape.dim),
            symbols=tuple(d.dim_param for d in port.type.tensor_type.shape.dim),
            ranked=port.type.tensor_type.HasField("shape"),
            below=below.get(port.name),
        )
        for port in graph.input
        if port.name not in weights
    ]


def _rows_picked(graph: Any, weights: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The inputs that a Gather picks rows of a weight with (perhaps cast before), and how many rows the least has."""
    cast = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Cast", "Identity")}
    found: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather" and weights.get(node.input[0]):
            name = node.input[1]
            while name in cast:
                name = cast[name]
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            rows = weights[node.input[0]][axis]
            found[name] = min(rows, found.get(name, rows))
    return found


def _numpy_kind(port: Any) -> str:
    import onnx

    kind = str(port.type.WhichOneof("value")).removesuffix("_type")  # a sequence, an optional or a map
    if port.type.HasField("tensor_type"):
        kind = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type).name
    return _checked_kind(port.name, kind)


def _checked_kind(name: str, kind: str) -> str:
    """The element type. Error: one that no values can be made of."""
    kind = "string" if kind == "object" or kind.startswith("|S") else kind
    if kind.lstrip("u").rstrip("0123456789") not in ("int", "float", "bool"):
        raise OptibenchError(
            f"The graph's input {name!r} is of the type {kind}, for which no input can be made: expected tensors "
            "of bool, int8 to uint64, or float16 to float64. Export the graph without the step that reads it (a "
            "tokenizer, a cast), and give what that step makes."
        )
    return kind


class Sizes(Value, frozen=True, kw_only=True):
    """What a graph fixes of its inputs: the number of rows and of tokens a row (None: free; 0 tokens: no text)."""

    batch: int | None
    length: int | None


def fixed_sizes(signature: list[Input]) -> Sizes:
    """The sizes that the graph's inputs fix, so that no shape is reported that was not run. First axes that the file
    leaves free tell the batch, if there are any: a state's first axis may be its layers."""
    shaped = [one for one in signature if one.shape]
    rows = [one.shape[0] for one in shaped if one.symbols and one.symbols[0]] or [one.shape[0] for one in shaped]
    tokens = [one.shape[1] for one in signature if _is_text(one)]
    return Sizes(
        batch=None if not rows or None in rows else rows[0],
        length=0 if not tokens else None if None in tokens else max(size or 0 for size in tokens),
    )


def given(signature: list[Input], shapes: Mapping[str, str], file: str | None) -> list[Input]:
    """The signature with what the user says of it (given.py): a size that is said holds for every axis of that name,
    and one said of a first axis for all first axes that are free."""
    from optibench.given import said_sizes

    said = said_sizes(signature, shapes, file)
    signature = [one if one.ranked else _with_axes(one, said, signature) for one in signature]
    if not said:
        return signature
    known: dict[str, int] = {}
    for one in signature:
        for number, (axis, size) in enumerate(zip(one.shape, said.get(one.name, one.shape), strict=True)):
            if axis is None and size is not None:
                name = "first axis" if number == 0 else one.symbols[number] if one.symbols else ""
                for key in {name, one.symbols[number] if one.symbols else ""} - {""}:
                    if known.setdefault(key, size) != size:
                        raise OptibenchError(
                            f"The axis {key!r} of the graph's inputs is {known[key]} in one and {size} in another of "
                            "those that were given. They must agree."
                        )
    return [_with_sizes(one, said.get(one.name, one.shape), known) for one in signature]


def _with_sizes(one: Input, said: tuple[int | None, ...], known: Mapping[str, int]) -> Input:
    axes = []
    for number, size in enumerate(said):
        names = ["first axis"] if number == 0 else []
        names += [one.symbols[number]] if one.symbols else []
        axes.append(size if size is not None else next((known[name] for name in names if name in known), None))
    return msgspec.structs.replace(one, shape=tuple(axes))


def sizes_for_data(model: Model) -> Sizes:
    """What a graph fixes of its inputs. Error: more rows at a time than one, since data rarely fill whole batches."""
    if not model.is_graph:
        return Sizes(batch=None, length=None)
    fixed = fixed_sizes(signature_of(Path(model.path)))
    if (fixed.batch or 1) > 1:
        raise OptibenchError(
            f"This graph takes {fixed.batch} rows at a time, so data cannot judge it one by one. Export it with a "
            "free batch or a batch of 1, or give --task graph to time it alone."
        )
    return fixed


def asked_sizes(kind: str, option: str, asked: tuple[int, ...], fixed: int | None) -> tuple[int, ...]:
    """The sizes to run: those asked for, or the one that the graph fixes. Error: another one was asked for."""
    if fixed is None:
        return asked
    if asked and asked != (fixed,):
        what = f"a {kind} of {fixed} only: it was exported with that size" if fixed else f"no {kind}: it reads no text"
        raise OptibenchError(f"This graph takes {what}. Leave {option} out, or export it with a free size.")
    return (fixed,)


def _is_text(one: Input) -> bool:
    return len(one.shape) == 2 and one.kind.startswith("int")


def inputs_for(signature: list[Input], shape: Shape, seed: int) -> dict[str, numpy.ndarray]:
    """Arrays for every input: masks all ones, token and position ids in range, pictures and sound normal noise.

    The first axis, if it is free, is the batch; on text inputs the second is the length. An axis that the file gives
    the same name as one of these has its size (a state's batch, say). Any other free axis cannot be guessed, and is an
    error that names the input.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    length = shape.length or 16
    known = {one.symbols[1]: length for one in signature if _is_text(one) and one.symbols}
    known |= {one.symbols[0]: shape.batch for one in signature if one.symbols}
    made = {}
    for one in signature:
        axes: list[int] = []
        for number, axis in enumerate(one.shape):
            if axis is not None:
                axes.append(axis)
            elif number == 0:
                axes.append(shape.batch)
            elif number == 1 and _is_text(one):
                axes.append(length)
            elif one.symbols and one.symbols[number] in known and one.symbols[number]:
                axes.append(known[one.symbols[number]])
            else:
                raise _unknown_size(one, number, signature)
        made[one.name] = _filled(one, tuple(axes), rng)
    return made


def _with_axes(one: Input, said: Mapping[str, tuple[int | None, ...]], signature: list[Input]) -> Input:
    """An input whose file does not tell its axes with as many as were said. Error: none were."""
    if one.name in said:
        return msgspec.structs.replace(one, shape=(None,) * len(said[one.name]), ranked=True)
    raise OptibenchError(
        f"The file does not say how many axes the graph's input {one.name!r} ({one.kind}) has. Say its shape, for "
        f"example --input {one.name}=1x64:{one.kind}, or give real arrays with --inputs file.npz. "
        f"All inputs: {_all_inputs(signature)}."
    )


def _all_inputs(signature: list[Input]) -> str:
    shapes = {one.name: _shown(one) or ("scalar" if one.ranked else "any shape") for one in signature}
    return "; ".join(f"{one.name} ({one.kind}, {shapes[one.name]})" for one in signature)


PICTURE = (1, 3, 224, 224)
"""What an input of four axes most often is."""


def _unknown_size(one: Input, axis: int, signature: list[Input]) -> OptibenchError:
    """With the option as it could be typed, and all inputs, so that one look is enough."""
    picture = len(one.shape) == len(PICTURE) and one.shape[1] in (None, 1, 3)
    usual = PICTURE if picture else (1, *(64 for _ in one.shape[1:]))
    example = "x".join(str(size or usual[number]) for number, size in enumerate(one.shape))
    everything = _all_inputs(signature)
    return OptibenchError(
        f"The graph's input {one.name!r} ({one.kind}, shape {_shown(one)}) has a free axis {axis} whose size cannot be "
        f"guessed. Say it, for example --input {one.name}={example}:{one.kind}, or give real arrays with --inputs "
        f"file.npz. All inputs: {everything}."
    )


def _shown(one: Input) -> str:
    return "x".join("?" if axis is None else str(axis) for axis in one.shape)


def _filled(one: Input, axes: tuple[int, ...], rng: numpy.random.Generator) -> numpy.ndarray:
    import numpy as np

    name = one.name.lower()
    if one.kind.startswith(("float", "bool")):
        return np.ones(axes, bool) if one.kind == "bool" else np.asarray(rng.standard_normal(axes)).astype(one.kind)
    if "mask" in name:
        return np.ones(axes, one.kind)
    if "type" in name or "segment" in name:
        return np.zeros(axes, one.kind)
    if "position" in name:
        return np.broadcast_to(np.arange(axes[-1]), axes).astype(one.kind)
    most = min(100, one.below or 100)  # low ids exist in every vocabulary, the lowest are often special
    return np.asarray(rng.integers(min(5, most - 1), most, axes)).astype(one.kind)
