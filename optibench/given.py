"""What a user says of a graph's inputs: ``--input name=2x80x3000:float32``, or real arrays in an .npz file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from optibench.errors import OptibenchError, first_line, unknown_name

if TYPE_CHECKING:
    import numpy

    from optibench.signature import Input

Sizes = tuple[int | None, ...]
LARGEST = 1 << 31
"""Numbers of one input: more is a slip of the finger."""


def said_sizes(signature: list[Input], shapes: Mapping[str, str], file: str | None) -> dict[str, Sizes]:
    """Each input's axes as far as they are said. Errors: no such input; another rank, size or type than the graph's."""
    known = {one.name: one for one in signature}
    found: dict[str, Sizes] = {}
    for name, text in shapes.items():
        if name not in known:
            raise unknown_name("input", name, known)
        found[name] = _sizes_from_text(known[name], text)
    if file is not None:
        arrays = arrays_from_file(signature, file)
        if both := sorted(found.keys() & arrays.keys()):
            raise OptibenchError(f"The input {both[0]!r} is given by --input and by --inputs: leave one of them out.")
        found |= {name: array.shape for name, array in arrays.items()}
    return found


def _sizes_from_text(one: Input, text: str) -> Sizes:
    match = re.fullmatch(r"((?:\d+|\?)(?:x(?:\d+|\?))*)(?::(\w+))?", text.strip())
    if not match:
        raise OptibenchError(
            f"--input {one.name}={text} is no shape. Give sizes divided by x, ? for one that --batch and --length say, "
            f"and the type if you like: {one.name}=1x80x3000:{one.kind}."
        )
    sizes = tuple(None if size == "?" else int(size) for size in match[1].split("x"))
    if match[2] not in (None, one.kind):
        raise OptibenchError(f"The graph's input {one.name!r} is of the type {one.kind}, not {match[2]}.")
    _check(one, sizes, f"--input {one.name}={text}")
    return sizes


def _check(one: Input, sizes: Sizes, where: str) -> None:
    if not one.ranked:
        one = msgspec.structs.replace(one, shape=(None,) * len(sizes))
    wanted = "x".join("?" if axis is None else str(axis) for axis in one.shape) or "a scalar"
    fits = len(sizes) == len(one.shape) and all(
        size in (None, axis) for size, axis in zip(sizes, one.shape, strict=True) if axis is not None
    )
    if not fits:
        raise OptibenchError(f"{where} does not fit the graph, whose input {one.name!r} has the shape {wanted}.")
    if math.prod(size for size in sizes if size is not None) > LARGEST or (sizes and sizes[0] == 0):
        raise OptibenchError(f"{where}: every input needs a row, and at most {LARGEST} numbers.")


def arrays_from_file(signature: list[Input], file: str) -> dict[str, numpy.ndarray]:
    """The arrays of an .npz by input name, as the graph's types. Errors: it cannot be read; a name that is no input;
    a shape that does not fit; a type that would lose something."""
    import numpy as np

    known = {one.name: one for one in signature}
    path = Path(file).expanduser()
    if not path.is_file():
        raise OptibenchError(f"There is no file {file} (--inputs). Make one with numpy.savez, an array for each input.")
    try:
        stored = np.load(path, allow_pickle=False)
        if not hasattr(stored, "files"):
            raise ValueError("it holds one array without a name: use numpy.savez")
        with stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, numpy and the operating system each have their own
        raise OptibenchError(f"{file} (--inputs) cannot be read as .npz: {first_line(error)}.") from error
    if not arrays:
        raise OptibenchError(f"{file} (--inputs) holds no arrays.")
    made = {}
    for name, array in arrays.items():
        if name not in known:
            raise unknown_name(f"input in {path.name}", name, known)
        one = known[name]
        _check(one, array.shape, f"{path.name}: {name} of shape {'x'.join(map(str, array.shape))}")
        if not np.can_cast(array.dtype, one.kind, "same_kind"):
            raise OptibenchError(f"{path.name}: {name} is {array.dtype}, where the graph takes {one.kind}.")
        made[name] = array.astype(one.kind)
    return made
