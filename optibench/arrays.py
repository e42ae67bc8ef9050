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


def save(path: Path, batches: Iterable[Arrays]) -> None:
    """Batches as one .npz; keys are ``INDEX/NAME``. Written as they come, so that they need not all be in memory."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as stored:
        for index, batch in enumerate(batches):
            for name, array in batch.items():
                with stored.open(f"{index}/{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def batches_of(path: Path) -> Iterator[dict[str, numpy.ndarray]]:
    """The batches of a file that ``save`` wrote, one at a time."""
    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        names: dict[int, list[str]] = {}
        for key in stored.files:
            names.setdefault(int(key.partition("/")[0]), []).append(key)
        for _, keys in sorted(names.items()):
            yield {key.partition("/")[2]: stored[key] for key in keys}
