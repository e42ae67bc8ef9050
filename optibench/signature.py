"""Inputs for a finished graph, made from its signature: names, element types and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.values import Shape, Value

if TYPE_CHECKING:
    import numpy


class Input(Value, frozen=True, kw_only=True):
    """One input of a graph; None stands for an axis that may vary. ``kind`` is numpy's name of the element type."""

    name: str
    kind: str
    shape: tuple[int | None, ...]


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
        why = str(error).strip().splitlines()[-1]
        raise OptibenchError(f"{path.name} cannot be read by OpenVINO: {why}. Fetch or save it again.") from error
    return [
        Input(
            name=port.get_any_name(),
            kind=str(port.get_element_type().to_dtype()),
            shape=tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape()),
        )
        for port in model.inputs
    ]


def _onnx_inputs(path: Path) -> list[Input]:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}  # which old files list among the inputs
    return [
        Input(
            name=port.name,
            kind=_numpy_kind(port),
            shape=tuple(d.dim_value if d.dim_value > 0 else None for d in port.type.tensor_type.shape.dim),
        )
        for port in graph.input
        if port.name not in weights
    ]


def _numpy_kind(port: Any) -> str:
    import onnx

    kind = ""
    if port.type.HasField("tensor_type"):
        kind = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type).name
    if kind.lstrip("u").rstrip("0123456789") not in ("int", "float", "bool"):
        raise OptibenchError(
            f"The graph's input {port.name!r} is no tensor of numbers, so no input can be made for it."
        )
    return kind


class Sizes(Value, frozen=True, kw_only=True):
    """What a graph fixes of its inputs: the number of rows and of tokens a row (None: free; 0 tokens: no text)."""

    batch: int | None
    length: int | None


def fixed_sizes(signature: list[Input]) -> Sizes:
    """The sizes that the graph's inputs fix, so that no shape is reported that was not run."""
    rows = [one.shape[0] for one in signature if one.shape]
    tokens = [one.shape[1] for one in signature if _is_text(one)]
    return Sizes(
        batch=None if not rows or None in rows else rows[0],
        length=0 if not tokens else None if None in tokens else max(size or 0 for size in tokens),
    )


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

    The first free axis is the batch; on text inputs the second is the length. Any other free axis cannot be
    guessed, and is an error that names the input.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    made = {}
    for one in signature:
        axes: list[int] = []
        for number, axis in enumerate(one.shape):
            if axis is not None:
                axes.append(axis)
            elif number == 0:
                axes.append(shape.batch)
            elif number == 1 and _is_text(one):
                axes.append(shape.length or 16)
            else:
                raise OptibenchError(
                    f"The graph's input {one.name!r} ({one.kind}, shape {_shown(one)}) has a free axis {number} whose "
                    "size cannot be guessed. Fix its size in the file; a later version takes sizes by --input."
                )
        made[one.name] = _filled(one, tuple(axes), rng)
    return made


def _shown(one: Input) -> str:
    return "x".join("?" if axis is None else str(axis) for axis in one.shape)


def _filled(one: Input, axes: tuple[int, ...], rng: numpy.random.Generator) -> numpy.ndarray:
    import numpy as np

    name = one.name.lower()
    if one.kind.startswith(("float", "bool")):
        return np.ones(axes, bool) if one.kind == "bool" else rng.standard_normal(axes).astype(one.kind)
    if "mask" in name:
        return np.ones(axes, one.kind)
    if "type" in name or "segment" in name:
        return np.zeros(axes, one.kind)
    if "position" in name:
        return np.broadcast_to(np.arange(axes[-1]), axes).astype(one.kind)
    return rng.integers(5, 100, axes).astype(one.kind)  # low ids exist in every vocabulary
