"""Whether the GPU still answers after a job on it has failed, asked in a process of its own.

A driver that hangs must not take the run with it, so the process is given a time and then left alone: one that is stuck
within the driver cannot be ended. CUDA's driver library is asked itself, since every backend on the device needs it and
no package is common to them all.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

LIMIT_SECONDS = 60.0
"""A context on a large machine takes a few seconds to make."""

ASK = """
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
def do(name, *arguments):
    error = getattr(cuda, name)(*arguments)
    if error:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(error, ctypes.byref(text))
        sys.exit(f"{name}: {(text.value or b'error %d' % error).decode()}")
device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
size = ctypes.c_size_t(1 << 20)
do("cuInit", 0)
do("cuDeviceGet", ctypes.byref(device), 0)
do("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
do("cuCtxSetCurrent", context)
do("cuMemAlloc_v2", ctypes.byref(memory), size)
do("cuMemsetD8_v2", memory, ctypes.c_ubyte(1), size)
do("cuCtxSynchronize")
"""
"""A context is made and a megabyte written: what the next job will need first."""


def silent(env: Mapping[str, str], library: str = "libcuda.so.1", limit_seconds: float = LIMIT_SECONDS) -> str | None:
    """Why the first GPU that ``env`` (a target's variables) leaves does not answer; None if it does."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", ASK, library],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env={**os.environ, **env},
            start_new_session=True,
        )
        try:
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
            return f"the driver did not answer within {limit_seconds:.0f} s"
        said.seek(0)
        words = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    if code == 0:
        return None
    return words[-1] if words else f"asking it ended with {code}"
