"""What the tasks on pictures share: rows become the arrays that the model's own image processor makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import media
from optibench.errors import OptibenchError, first_line

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

IMAGE = ("image", "img", "picture", "photo", "file_name", "file", "path", "image_path")


def encoded(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model) -> Iterator[dict[str, numpy.ndarray]]:
    """Each row's picture, decoded and processed one at a time, so that memory does not grow with their number."""
    import numpy as np

    channels = model.config.get("num_channels") or (model.config.get("vision_config") or {}).get("num_channels") or 3
    for row in rows:
        image = media.picture(row["image"], channels)
        try:
            found = processor(images=image, return_tensors="np")
        except Exception as error:  # a processor raises whatever its own steps do
            raise OptibenchError(
                f"The model's image processor cannot take the picture of {getattr(row['image'], 'name', 'a row')}: "
                f"{first_line(error)}."
            ) from error
        arrays = {name: np.asarray(found[name]) for name in found}
        # What is no array, or empty, is for the processor's own later steps.
        yield {name: array[0] for name, array in arrays.items() if array.dtype != object and array.ndim and len(array)}
