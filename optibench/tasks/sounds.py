"""What the tasks on sound share: rows become the arrays that the model's own feature extractor makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import media
from optibench.errors import OptibenchError, first_line

if TYPE_CHECKING:
    import numpy

AUDIO = ("audio", "sound", "file_name", "file", "path", "audio_path", "wav")


def rate_of(extractor: Any) -> int:
    """Samples a second that the extractor takes; 16,000 where it does not say."""
    return int(getattr(extractor, "sampling_rate", None) or 16_000)


def encoded(rows: Sequence[Mapping[str, Any]], extractor: Any) -> Iterator[dict[str, numpy.ndarray]]:
    """Each row's sound, decoded and processed one at a time, so that memory does not grow with their number."""
    import numpy as np

    rate = rate_of(extractor)
    for row in rows:
        wave = media.wave(row["audio"], rate)
        try:
            found = extractor(wave, sampling_rate=rate, return_tensors="np")
        except Exception as error:  # an extractor raises whatever its own steps do
            raise OptibenchError(
                f"The model's feature extractor cannot take the sound of {getattr(row['audio'], 'name', 'a row')}: "
                f"{first_line(error)}."
            ) from error
        yield {name: np.asarray(found[name])[0] for name in found}
