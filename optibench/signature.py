"""Inputs for a finished graph, made from its signature: names, element types and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    """The graph's inputs, asked of the runtime that reads it."""
    if path.suffix == ".xml":
        import openvino

        model = openvino.Core().read_model(path)
        return [
            Input(
                name=port.get_any_name(),
                kind=str(port.get_element_type().to_dtype()),
                shape=tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape()),
            )
            for port in model.inputs
        ]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [
        Input(
            name=i.name,
            kind=_numpy_kind(i.name, i.type),
            shape=tuple(d if isinstance(d, int) else None for d in i.shape),
        )
        for i in session.get_inputs()
    ]


def _numpy_kind(name: str, kind: str) -> str:
    element = kind.removeprefix("tensor(").removesuffix(")")
    names = {"float": "float32", "double": "float64", "float16": "float16", "bool": "bool"}
    if element in names or element in ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"):
        return names.get(element, element)
    raise OptibenchError(f"The graph's input {name!r} is of the type {kind}, for which no input can be made.")


def has_length(signature: list[Input]) -> bool:
    """Whether the graph's inputs have a free axis besides the first that reads as a text's length."""
    return any(_is_text(i) and None in i.shape[1:] for i in signature)


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
