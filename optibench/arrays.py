"""Batches of arrays in one .npz file, and rows made into a batch. Numpy alone: slim workers import this."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]


def collated(inputs: Sequence[Arrays], pads: Mapping[str, int], least: int = 0) -> dict[str, numpy.ndarray]:
    """Inputs as one batch, shorter ones filled up on the right to the longest, or to ``least``."""
    import numpy as np

    longest = max((len(a) for one in inputs for a in one.values() if a.ndim), default=0)
    longest = max(longest, least)

    def filled(name: str, array: numpy.ndarray) -> numpy.ndarray:
        return np.pad(array, (0, longest - len(array)), constant_values=pads.get(name, 0)) if array.ndim else array

    return {name: np.stack([filled(name, one[name]) for one in inputs]) for name in inputs[0]}


def save(path: Path, batches: Iterable[Arrays], together_bytes: int = 0) -> None:
    """Batches as one .npz, written as they come, so that they need not all be in memory. Keys are ``INDEX/NAME``.

    Neighbours of the same shapes are stacked up to ``together_bytes``, as ``INDEXxCOUNT/NAME``: an archive's list of
    members is held in memory whole, by whoever reads it too.
    """
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as stored:
        index = 0
        for alike in _alike(batches, together_bytes):
            many = len(alike) > 1
            for name in alike[0]:
                array = np.stack([batch[name] for batch in alike]) if many else np.asanyarray(alike[0][name])
                with stored.open(
                    f"{index}{f'x{len(alike)}' if many else ''}/{name}.npy", "w", force_zip64=True
                ) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
            index += len(alike)


def _alike(batches: Iterable[Arrays], most_bytes: int) -> Iterator[list[Arrays]]:
    """Neighbours that can be stacked."""
    held: list[Arrays] = []
    for batch in batches:
        room = most_bytes // max(1, sum(array.nbytes for array in batch.values()))
        if held and (len(held) >= room or _form(batch) != _form(held[0])):
            yield held
            held = []
        held.append(batch)
    if held:
        yield held


def _form(batch: Arrays) -> list[tuple[str, tuple[int, ...], str]]:
    return [(name, array.shape, array.dtype.str) for name, array in batch.items()]


def batches_of(path: Path) -> Iterator[dict[str, numpy.ndarray]]:
    """The batches of a file that ``save`` wrote, one at a time."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        names: dict[str, list[str]] = {}
        for key in stored.files:  # in the order in which they were written
            names.setdefault(key.partition("/")[0], []).append(key)
        for index, keys in names.items():
            arrays = {key.partition("/")[2]: stored[key] for key in keys}
            if "x" not in index:
                yield arrays
                continue
            for number in range(int(index.partition("x")[2])):
                yield {name: array[number] for name, array in arrays.items()}
