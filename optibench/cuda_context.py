"""One question to CUDA: can a process make a context on the GPU that it sees, and use memory there?

NVML answers for the driver, and may go on answering for a GPU on which CUDA hangs or fails. Like NVML it is asked in a
process of its own with a time limit (``python -m optibench.cuda_context``, started by gpus.py), and only after a worker
died or hung: a context takes some hundred MB, and a second or two. The driver's library is called by ctypes, so that
nothing but the driver need be installed; signatures are those of CUDA's driver API (docs.nvidia.com/cuda).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from optibench.value import Value

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY: others hold it all, and the GPU answers."""
BYTES = 1 << 20


class Answer(Value, frozen=True, kw_only=True):
    """``trouble``: what CUDA did not do, in its own words; None if it did all that was asked."""

    trouble: str | None = None


def ask() -> Answer:
    """Makes the first GPU's context, writes to memory there and waits until it is written."""
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        return Answer(trouble=str(error))
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    steps: tuple[tuple[str, Callable[[], tuple[Any, ...]]], ...] = (
        ("cuInit", lambda: (ctypes.c_uint(0),)),
        ("cuDeviceGet", lambda: (ctypes.byref(device), ctypes.c_int(0))),
        ("cuDevicePrimaryCtxRetain", lambda: (ctypes.byref(context), device)),
        ("cuCtxSetCurrent", lambda: (context,)),
        ("cuMemAlloc_v2", lambda: (ctypes.byref(memory), ctypes.c_size_t(BYTES))),
        ("cuMemsetD8_v2", lambda: (memory, ctypes.c_ubyte(1), ctypes.c_size_t(BYTES))),
        ("cuCtxSynchronize", lambda: ()),
    )
    for name, arguments in steps:
        code = getattr(driver, name)(*arguments())
        if code == OUT_OF_MEMORY:
            return Answer()
        if code:
            return Answer(trouble=f"{name}: {_words(driver, code)}")
    return Answer()


def _words(driver: ctypes.CDLL, code: int) -> str:
    """CUDA's text of an error with its name."""
    found = []
    for function in ("cuGetErrorString", "cuGetErrorName"):
        text = ctypes.c_char_p()
        getattr(driver, function)(code, ctypes.byref(text))
        found.append((text.value or b"no word").decode(errors="replace"))
    return f"{found[0]} ({found[1]}, {code})"


def main() -> None:
    """The process: one Answer as JSON on standard output. What libraries print there goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "wb") as file:
        file.write(msgspec.json.encode(ask()))
    sys.stdout.flush()
    os._exit(0)  # a driver that is ill may hang in its destructors


if __name__ == "__main__":
    main()
