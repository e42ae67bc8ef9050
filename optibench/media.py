"""Pictures and sounds: what a row of data names, how it is decoded, and what stands in where there are no data.

Pillow, soundfile and scipy do the work; they are imported where something is decoded, so that nobody else needs them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.cache import sha256_of_file
from optibench.errors import OptibenchError, first_line

if TYPE_CHECKING:
    import numpy

ROLES = ("image", "audio", "mask")
"""The roles whose values are media: a path, the file's bytes, or the Hub's ``{"bytes": ..., "path": ...}``."""
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au"),
}
STAND_IN_IDS = {"image": "synthetic pictures (1/f noise)", "audio": "synthetic sounds (1/f noise)"}
STAND_IN_SIDES = ((256, 256), (256, 192), (192, 256))
"""Height and width in turn: to a model whose processor keeps proportions, several sizes must be shown."""
STAND_IN_SECONDS = 6
ORIENTATION = 0x0112
"""EXIF's tag for how a camera was held; from 5 on the picture lies on its side."""


@dataclass(frozen=True)
class Media:
    """One picture or sound that is not decoded yet: a file, a file's bytes, or the seed of a synthetic one.

    ``name`` says in errors where it comes from. As text it is its content's digest, so that equal content is told.
    """

    source: Path | bytes | int
    name: str

    def __str__(self) -> str:
        if isinstance(self.source, int):
            return f"synthetic {self.source}"
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        return sha256_of_file(self.source)

    def opened(self) -> Path | io.BytesIO:
        """What a decoder reads."""
        assert not isinstance(self.source, int), "a synthetic one has no file"
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source


def media_of(value: Any, role: str, number: int, folder: Path | None) -> Media:
    """A row's value as Media; paths are taken from ``folder``. Errors: it is neither a path nor bytes; no such file."""
    if isinstance(value, dict):  # as the Hub's Parquet files hold pictures and sounds
        value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if isinstance(value, bytes):
        return Media(value, f"row {number}")
    if not isinstance(value, str) or not value.strip():
        raise OptibenchError(
            f"Row {number} holds a {type(value).__name__} as {role}, where a path or a file's bytes are expected."
        )
    told = Path(value).expanduser()
    path = told if told.is_absolute() or folder is None else folder / told
    if not path.is_file():
        where = "Nothing is fetched from addresses: download it" if "://" in value else "Paths go from the data"
        raise OptibenchError(f"Row {number} names the {role} {value[:200]}, which is not there. {where}.")
    return Media(path, f"row {number} ({path.name if told.is_absolute() else told})")


def rows_of_folder(folder: Path) -> list[dict[str, Any]]:
    """The media files in a folder's subfolders, each labelled with its subfolder's name; where there are none those in
    the folder itself, without labels; [] if there are none either."""
    kinds = {suffix: role for role, suffixes in SUFFIXES.items() for suffix in suffixes}

    def found(pattern: str) -> list[Path]:
        known = (path for path in folder.glob(pattern) if path.suffix.lower() in kinds)
        return sorted(path for path in known if not path.name.startswith("."))

    return [
        {kinds[path.suffix.lower()]: str(path.relative_to(folder)), "label": path.parent.name} for path in found("*/*")
    ] or [{kinds[path.suffix.lower()]: path.name} for path in found("*")]


def stand_ins(role: str, count: int) -> list[Media]:
    """Synthetic media for where the user gave no data: they time a model and compare outputs, and have no labels."""
    return [Media(seed, f"synthetic {seed}") for seed in range(count)]


# Pictures


def picture(value: Any, channels: int = 3) -> Any:
    """The picture as Pillow's Image with three channels, or one where the model takes one. It is turned as its camera
    says; greyscale is repeated, transparency dropped, 16 bits are scaled to 8.

    Raises OptibenchError where it cannot be decoded.
    """
    _needs_pillow()
    from PIL import Image, ImageOps

    if not isinstance(value, Media):
        return value
    if isinstance(value.source, int):
        return Image.fromarray(_noise_picture(value.source)).convert("RGB" if channels == 3 else "L")
    try:
        with Image.open(value.opened()) as image:
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith("I;16"):
                import numpy as np

                turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
            if turned.mode in ("I", "F"):
                _as_bytes_would_be(turned)
            return turned.convert("RGB" if channels == 3 else "L")
    except Exception as error:  # Pillow's plug-ins raise whatever their formats make them
        raise _undecodable(value, error) from error


def _as_bytes_would_be(image: Any) -> None:
    """Error: a picture of 32 bits a pixel that Pillow would cut at 255, or, of shares of 1, make black."""
    most = image.getextrema()[1]
    if not (1 < most <= 255 or most == 0):
        raise ValueError(
            f"it has 32 bits a pixel up to {most:g}, where 0 is black and 255 white: save it in 8 or 16 bits"
        )


def size_of(value: Media) -> tuple[int, int]:
    """Width and height of the picture as its camera says it is turned; only its header is read."""
    if isinstance(value.source, int):
        height, width = STAND_IN_SIDES[value.source % len(STAND_IN_SIDES)]
        return width, height
    _needs_pillow()
    from PIL import Image

    try:
        with Image.open(value.opened()) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except Exception as error:
        raise _undecodable(value, error) from error


def classes_of_pixels(value: Media) -> numpy.ndarray:
    """A mask's number at every pixel, shape (height, width): greyscale as it is, of a palette its indices.

    Raises OptibenchError where it cannot be decoded or has colours.
    """
    _needs_pillow()
    import numpy as np
    from PIL import Image

    try:
        with Image.open(value.opened()) as image:
            mode, found = image.mode, np.asarray(image)
    except Exception as error:
        raise _undecodable(value, error) from error
    if found.ndim != 2:
        raise OptibenchError(
            f"The mask of {value.name} has colours ({mode}), where a number for each pixel is expected: save it as a "
            "picture of one channel (greyscale, or a palette) whose values are the classes."
        )
    return found.astype(np.int64)


def _needs_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401 (asked for, so that all who read pictures say the same)
    except ImportError as error:
        raise needs("Pillow", "pictures") from error


def _undecodable(value: Media, error: Exception) -> OptibenchError:
    return OptibenchError(
        f"The picture of {value.name} cannot be decoded: {first_line(error)}. Leave the row out, or save it anew."
    )


def _noise_picture(seed: int) -> numpy.ndarray:
    """Coloured 1/f noise, whose spectrum is that of natural scenes; shape (height, width, 3), uint8."""
    import numpy as np

    rng = np.random.default_rng(seed)
    size = STAND_IN_SIDES[seed % len(STAND_IN_SIDES)]
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    frequency[0, 0] = 1.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((3, *size))) / frequency, s=size)
    noise = noise + 1.5 * noise.mean(axis=0)  # channels of a scene go together
    noise = (noise - noise.mean()) / noise.std()
    pixels: numpy.ndarray = np.clip(128 + 48 * noise, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels


# Sounds


def wave(value: Any, rate: int) -> numpy.ndarray:
    """The sound as float32 samples at ``rate`` a second, several channels mixed down to one.

    Raises OptibenchError where it cannot be decoded or is empty.
    """
    import numpy as np

    if not isinstance(value, Media):
        return np.asarray(value, np.float32)
    if isinstance(value.source, int):
        return _noise_wave(value.source, rate)
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the library that it wraps is not there
        raise needs("soundfile", "sound") from error
    try:
        samples, own_rate = soundfile.read(value.opened(), dtype="float32", always_2d=True)
    except Exception as error:
        raise OptibenchError(
            f"The sound of {value.name} cannot be decoded: {first_line(error)}. Leave the row out, or save it as WAV."
        ) from error
    mixed = samples.mean(axis=1)
    if not len(mixed) or not np.isfinite(mixed).all():
        raise OptibenchError(f"The sound of {value.name} is empty or holds NaN. Leave the row out.")
    return resampled(mixed, own_rate, rate)


def resampled(samples: numpy.ndarray, rate: int, wanted: int) -> numpy.ndarray:
    """Samples at another rate, by scipy's polyphase filter (which keeps out what the new rate cannot hold)."""
    import numpy as np

    if rate == wanted:
        return np.asarray(samples, np.float32)
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), np.float32)


def _noise_wave(seed: int, rate: int) -> numpy.ndarray:
    """1/f noise that swells and fades about four times a second, as syllables do."""
    import numpy as np

    rng = np.random.default_rng(seed)
    count = STAND_IN_SECONDS * rate
    spectrum = np.fft.rfft(rng.standard_normal(count)) / np.maximum(np.fft.rfftfreq(count, 1 / rate), 50.0)
    noise = np.fft.irfft(spectrum, n=count)
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * (rng.uniform(3, 5) * np.arange(count) / rate + rng.uniform()))
    return np.asarray(0.1 * noise / noise.std() * swell, np.float32)


def cuts(samples: numpy.ndarray, least: int) -> Iterator[numpy.ndarray]:
    """The sound whole, and its first two thirds and first third where these have ``least`` samples: calibration and
    the exporters must see several lengths."""
    for share in (1.0, 2 / 3, 1 / 3):
        if share == 1.0 or len(samples) * share >= least:
            yield samples[: int(len(samples) * share)]


def needs(package: str, what: str) -> OptibenchError:
    """A package that is not installed, with the pip line that mends it."""
    return OptibenchError(f"Reading {what} needs the package {package}: pip install 'optibench[tasks]'")
