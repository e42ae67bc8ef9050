"""CUDA's runtime by cuda-bindings: memory, a stream of our own, events, graphs. Errors are words, with the bytes asked
and free where memory ran out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from optibench.errors import CaseFailed

if TYPE_CHECKING:
    import numpy

SHORT = re.compile(r"out.?of.?memory|insufficient memory|could not be allocated", re.IGNORECASE)
"""How TensorRT and CUDA say that memory ran out, in one call or another."""
ASKED = re.compile(r"request\D*(\d{3,})", re.IGNORECASE)
"""And how many bytes were asked for: "Requested size was 4294967296 bytes", "requested size of ..."."""

DEVICE_CALLS = 20
"""Calls whose device time is taken by events, once everything else is measured; their median is told."""


def bytes_wanted(texts: Iterable[str]) -> int | None:
    """The most bytes that were asked for in vain, by what TensorRT logged (0: it does not say how many); None if memory
    did not run out."""
    short = [text for text in texts if SHORT.search(text)]
    return max((int(count) for text in short for count in ASKED.findall(text)), default=0) if short else None


def memory() -> tuple[int, int] | None:
    """Bytes free and in all on the current device; None where it cannot be asked."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    error, free, total = runtime.cudaMemGetInfo()
    return None if int(error) else (int(free), int(total))


def out_of_memory(count: int, what: str, left: tuple[int, int] | None) -> str:
    """The words for device memory that ran out: bytes asked for (0: not known), and free and in all, if they are."""
    asked = f"{what} takes {count / 1e6:.0f} MB" if count else f"{what} takes more than there is"
    free = f", and {left[0] / 1e6:.0f} of {left[1] / 1e6:.0f} MB are free" if left else ""
    return f"out of device memory: {asked}{free}"


class Device:
    """The current CUDA device with a stream, for one session."""

    def __init__(self) -> None:
        from cuda.bindings import runtime

        self.cuda = runtime
        self.stream = int(self.do(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking))

    def do(self, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
        """Calls a function of CUDA's runtime; its result, or CaseFailed with CUDA's name and text of the error."""
        error, *results = function(*arguments)
        if int(error):
            name = self.cuda.cudaGetErrorName(error)[1].decode()
            text = self.cuda.cudaGetErrorString(error)[1].decode()
            raise CaseFailed(f"CUDA failed in {function.__name__}: {text} ({name})")
        return results[0] if len(results) == 1 else results

    def buffer(self, count: int, what: str) -> Buffer:
        """``count`` bytes on the device."""
        error, pointer = self.cuda.cudaMalloc(max(1, count))
        if error == self.cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise CaseFailed(out_of_memory(count, what, memory()))
        return Buffer(self, int(self.do(lambda: (error, pointer))))

    def copy_in(self, buffer: Buffer, array: numpy.ndarray) -> None:
        """Host to device; returns when it is there."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.do(self.cuda.cudaMemcpyAsync, buffer.pointer, array.ctypes.data, array.nbytes, kind, self.stream)
        self.wait()

    def copy_out(self, array: numpy.ndarray, buffer: Buffer) -> None:
        """Device to host; returns when it is there."""
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.do(self.cuda.cudaMemcpyAsync, array.ctypes.data, buffer.pointer, array.nbytes, kind, self.stream)
        self.wait()

    def wait(self) -> None:
        """Until the stream has nothing left to do."""
        self.do(self.cuda.cudaStreamSynchronize, self.stream)

    def seconds(self, enqueue: Callable[[], None]) -> float:
        """What the device took for what ``enqueue`` puts on the stream, by events around it."""
        start, end = self.do(self.cuda.cudaEventCreate), self.do(self.cuda.cudaEventCreate)
        try:
            self.do(self.cuda.cudaEventRecord, start, self.stream)
            enqueue()
            self.do(self.cuda.cudaEventRecord, end, self.stream)
            self.do(self.cuda.cudaEventSynchronize, end)
            return float(self.do(self.cuda.cudaEventElapsedTime, start, end)) / 1e3
        finally:
            self.cuda.cudaEventDestroy(start)
            self.cuda.cudaEventDestroy(end)

    def graph(self, enqueue: Callable[[], None]) -> Graph:
        """What ``enqueue`` puts on the stream, as a CUDA graph. Raises CaseFailed where it cannot be captured; the
        stream may be used as before then."""
        mode = self.cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.do(self.cuda.cudaStreamBeginCapture, self.stream, mode)
        try:
            enqueue()
        except CaseFailed:
            self.cuda.cudaStreamEndCapture(self.stream)  # leaves the capture, whatever it gives
            self.cuda.cudaGetLastError()
            raise
        captured = self.do(self.cuda.cudaStreamEndCapture, self.stream)
        try:
            return Graph(self, self.do(self.cuda.cudaGraphInstantiate, captured, 0))
        finally:
            self.cuda.cudaGraphDestroy(captured)


class Buffer:
    """Memory on the device, freed with this object."""

    def __init__(self, device: Device, pointer: int) -> None:
        self.device, self.pointer = device, pointer

    def __del__(self) -> None:
        self.device.cuda.cudaFree(self.pointer)


class Graph:
    """A captured CUDA graph, ready to launch, freed with this object."""

    def __init__(self, device: Device, executable: Any) -> None:
        self.device, self.executable = device, executable

    def launch(self) -> None:
        """Puts it on the device's stream."""
        self.device.do(self.device.cuda.cudaGraphLaunch, self.executable, self.device.stream)

    def __del__(self) -> None:
        self.device.cuda.cudaGraphExecDestroy(self.executable)
