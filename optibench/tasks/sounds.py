"""What the tasks on sound share: rows become the arrays that the model's own feature extractor makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import media
from optibench.errors import OptibenchError, first_line

if TYPE_CHECKING:
    import numpy

LEAST_SECONDS = 0.05
"""Two frames of 25 milliseconds, 20 apart: what speech models look at. One frame alone breaks some."""
AUDIO = ("audio", "sound", "file_name", "file", "path", "audio_path", "wav")


def rate_of(extractor: Any) -> int:
    """Samples a second that the extractor takes; 16,000 where it does not say."""
    return int(getattr(extractor, "sampling_rate", None) or 16_000)


def window_of(extractor: Any) -> int | None:
    """Samples that the extractor cuts every sound at (Whisper's 30 seconds); None where it takes any number."""
    found = getattr(extractor, "n_samples", None)
    return int(found) if isinstance(found, int) and found > 0 else None


def encoded(
    rows: Sequence[Mapping[str, Any]], extractor: Any, windows: list[int] | None = None
) -> Iterator[dict[str, numpy.ndarray]]:
    """Each row's sound, decoded and processed one at a time, so that memory does not grow with their number.

    Where ``windows`` is given, a sound that is longer than the extractor's window becomes several inputs, one after the
    other, and how many each row became is added to it.
    """
    rate = rate_of(extractor)
    for row in rows:
        wave = media.wave(row["audio"], rate)
        if len(wave) < LEAST_SECONDS * rate:
            raise OptibenchError(
                f"The sound of {getattr(row['audio'], 'name', 'a row')} lasts {len(wave) / rate:.4f} seconds, in which "
                f"models hear nothing: they look at {LEAST_SECONDS} at least. Leave the row out."
            )
        size = (window_of(extractor) if windows is not None else None) or len(wave)
        parts = [wave[start : start + size] for start in range(0, len(wave), size)]
        if windows is not None:
            windows.append(len(parts))
        for part in parts:
            yield _extracted(part, extractor, rate, str(getattr(row["audio"], "name", "a row")))


def _extracted(wave: numpy.ndarray, extractor: Any, rate: int, name: str) -> dict[str, numpy.ndarray]:
    import numpy as np

    try:
        found = extractor(wave, sampling_rate=rate, return_tensors="np")
    except Exception as error:  # an extractor raises whatever its own steps do
        raise OptibenchError(
            f"The model's feature extractor cannot take the sound of {name}: {first_line(error)}."
        ) from error
    return {name: np.asarray(found[name])[0] for name in found}
