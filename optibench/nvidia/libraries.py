"""The shared libraries that a library of ONNX Runtime's needs: which are missing, and loading those that lie in wheels.

NVIDIA's wheels put CUDA, cuDNN and TensorRT into folders where the system's loader does not look.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WHEELS = ("nvidia/*/lib", "tensorrt_libs")
"""Where NVIDIA's wheels keep their libraries, below a folder of packages."""
OURS = ("libonnxruntime",)
"""What ONNX Runtime loads by itself before the library that asks for it."""


def wheel_folders(places: Sequence[str] | None = None) -> list[Path]:
    """The folders of libraries that NVIDIA's wheels brought."""
    roots = [Path(place) for place in (sys.path if places is None else places) if place]
    return sorted({folder for root in roots for pattern in WHEELS for folder in root.glob(pattern) if folder.is_dir()})


def needed(library: Path, folders: Sequence[Path]) -> dict[str, Path | None]:
    """Every library that this one needs, directly or not, with its place (None: there is none). Asked of the system's
    own loader (ldd), so that it is looked for where it would be; nothing is known where there is no ldd."""
    ldd = shutil.which("ldd")
    if ldd is None:
        return {}
    path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
    told = subprocess.run(
        [ldd, str(library)], capture_output=True, text=True, check=False, env={**os.environ, "LD_LIBRARY_PATH": path}
    )
    return needed_from_text(told.stdout)


def needed_from_text(text: str) -> dict[str, Path | None]:
    """ldd's lines: ``name => place (address)`` or ``name => not found``."""
    found: dict[str, Path | None] = {}
    for line in text.splitlines():
        name, arrow, place = (part.strip() for part in line.partition("=>"))
        if arrow:
            found[name] = Path(place.rpartition(" (")[0] or place) if place.startswith("/") else None
    return found


def lacking(library: Path) -> list[str]:
    """The libraries that this one needs and that are neither in the system nor in a wheel, its own among them (which
    may hold them under longer names, and links them when it is imported)."""
    return [
        name
        for name, place in needed(library, wheel_folders()).items()
        if place is None and not name.startswith(OURS) and not any(library.parent.glob(f"{name}*"))
    ]


def preload(library: Path) -> None:
    """Loads what this library needs from the wheels, so that it finds them loaded. What does not load is left: the
    library itself then says what it lacks."""
    folders = wheel_folders()
    left = [place for place in needed(library, folders).values() if place and place.parent in folders]
    while left:
        refused = [place for place in left if not _loads(place)]  # it may need one that comes later
        if len(refused) == len(left):
            return
        left = refused


def _loads(library: Path) -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        return True
    return False


def why_not_loaded(library: Path) -> str | None:
    """The loader's own words for why a library cannot be loaded; None if it can."""
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return None
