"""TensorRT's and TensorRT-RTX's Python bindings: two modules with nearly one API, each imported when it is needed.

Functions of this package take a ``Flavour`` and open it by ``trt = bindings(flavour)``. tests/nvidia checks each such
function by mypy against the real bindings of every version in its range, with that line made an import.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from optibench.errors import Unsupported, first_line
from optibench.values import Value


class Flavour(Value, frozen=True, kw_only=True):
    """One of the two: its backend's name, its module, and what installs it. ``ahead_of_time``: engines are built on
    any machine, for a compute capability that is named, and finished by a compiler of their own on the card."""

    backend: str
    title: str
    module: str
    install: str
    ahead_of_time: bool


TENSORRT = Flavour(
    backend="tensorrt",
    title="TensorRT",
    module="tensorrt",
    install="pip install 'optibench[tensorrt]'",
    ahead_of_time=False,
)
RTX = Flavour(
    backend="tensorrt-rtx",
    title="TensorRT-RTX",
    module="tensorrt_rtx_bindings",
    install="pip install 'optibench[tensorrt-rtx]'",
    ahead_of_time=True,
)


def absent(flavour: Flavour) -> str | None:
    """Why the bindings cannot be imported, without importing them; None if they seem to be there."""
    try:
        spec = importlib.util.find_spec(flavour.module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return f"{flavour.module} is not installed: {flavour.install}"
    return None if spec.origin else _empty(flavour)


def bindings(flavour: Flavour) -> Any:
    """The module. Raises Unsupported where it is absent, empty, or lacks its libraries."""
    if reason := absent(flavour):
        raise Unsupported(reason)
    try:
        module = importlib.import_module(flavour.module)
    except (ImportError, OSError) as error:
        raise Unsupported(
            f"{flavour.module} is installed and cannot be imported: {first_line(error)}. Again: {flavour.install}"
        ) from error
    if not hasattr(module, "Builder"):
        raise Unsupported(_empty(flavour))
    return module


def _empty(flavour: Flavour) -> str:
    return (
        f"{flavour.module} can be imported and is empty (type stubs, or a folder of that name, stand in its place): "
        f"{flavour.install}"
    )


def logger(flavour: Flavour) -> Any:
    """A TensorRT logger whose ``errors`` and ``warnings`` are lists of texts: a call that fails only gives None, and
    why stands in its log."""
    trt = bindings(flavour)

    class Texts(trt.ILogger):  # type: ignore[name-defined,misc]  # known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(msg)

    return Texts()
