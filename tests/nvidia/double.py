"""A GPU that is not there: TensorRT's runtime half and CUDA's, in plain Python, over the host's memory.

Enums, loggers and types are the real bindings'. What needs a driver is played, and each call is recorded; check_runtime
replays what was recorded against the real classes and functions, so a call that they would refuse is found. It shows
that the calls, their order and their arguments are right, and nothing about numbers or speed.
"""

from __future__ import annotations

import ctypes
import json
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

Calls = list[tuple[str, str, tuple[Any, ...]]]


@dataclass
class Plan:
    """What an "engine file" of the double holds: ids (batch, length) in, their doubles out as float32."""

    profiles: list[dict[str, list[tuple[int, ...]]]]
    memory_bytes: int = 1 << 20
    layers: list[Any] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        return json.dumps(self.__dict__).encode()


@dataclass
class GPU:
    """The double's state, and what is planted in it."""

    free_bytes: int = 1 << 30
    capturable: bool = True
    calls: Calls = field(default_factory=list)
    memory: dict[int, Any] = field(default_factory=dict)
    capturing: list[Any] | None = None
    clock_ms: float = 0.0

    def record(self, owner: str, method: str, *arguments: Any) -> None:
        self.calls.append((owner, method, arguments))


class TensorRT:
    """The module: the real one, but for its runtime."""

    def __init__(self, real: ModuleType, gpu: GPU) -> None:
        self._real, self._gpu = real, gpu

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        return Runtime(self._real, self._gpu, logger)


class Played:
    """Base of what is played: ``PLAYS`` is the real class's name."""

    PLAYS = ""

    def __init__(self, real: ModuleType, gpu: GPU, logger: Any) -> None:
        self.real, self.gpu, self.logger = real, gpu, logger

    def record(self, method: str, *arguments: Any) -> None:
        self.gpu.record(self.PLAYS, method, *arguments)

    def complain(self, text: str) -> None:
        self.logger.log(self.real.ILogger.ERROR, text)


class Runtime(Played):
    PLAYS = "Runtime"

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        self.record("deserialize_cuda_engine", serialized_engine)
        try:
            plan = Plan(**json.loads(serialized_engine))
        except ValueError:
            self.complain("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Magic tag does not match)")
            return None
        if len(serialized_engine) > self.gpu.free_bytes:
            self.complain("[defaultAllocator.cpp::allocate::58] Error Code 1: Cuda Runtime (out of memory)")
            return None
        return Engine(self, plan)


class Engine(Played):
    PLAYS = "ICudaEngine"

    def __init__(self, runtime: Runtime, plan: Plan) -> None:
        super().__init__(runtime.real, runtime.gpu, runtime.logger)
        self.plan = plan
        self.num_io_tensors = 2
        self.num_optimization_profiles = len(plan.profiles)
        self.device_memory_size_v2 = plan.memory_bytes

    def get_tensor_name(self, index: int) -> str:
        self.record("get_tensor_name", index)
        return ("ids", "out")[index]

    def get_tensor_mode(self, name: str) -> Any:
        self.record("get_tensor_mode", name)
        return self.real.TensorIOMode.INPUT if name == "ids" else self.real.TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> Any:
        self.record("get_tensor_location", name)
        return self.real.TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> Any:
        self.record("get_tensor_dtype", name)
        return self.real.DataType.INT64 if name == "ids" else self.real.DataType.FLOAT

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        self.record("get_tensor_profile_shape", name, profile_index)
        return [tuple(shape) for shape in self.plan.profiles[profile_index][name]]

    def create_execution_context(self) -> Context | None:
        self.record("create_execution_context")
        if self.plan.memory_bytes > self.gpu.free_bytes:
            asked = self.plan.memory_bytes
            self.complain(f"IExecutionContext: Error Code 2: OutOfMemory (Requested size was {asked} bytes.)")
            return None
        return Context(self)

    def create_engine_inspector(self) -> Inspector:
        self.record("create_engine_inspector")
        return Inspector(self)


class Inspector(Played):
    PLAYS = "EngineInspector"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.real, engine.gpu, engine.logger)
        self.engine, self.execution_context = engine, None

    def get_engine_information(self, format: Any) -> str:
        self.record("get_engine_information", format)
        return json.dumps({"Layers": self.engine.plan.layers})


class Context(Played):
    PLAYS = "IExecutionContext"

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.real, engine.gpu, engine.logger)
        self.engine, self.active_optimization_profile = engine, 0
        self.shape: tuple[int, ...] | None = None
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.record("set_optimization_profile_async", profile_index, stream_handle)
        self.active_optimization_profile, self.shape = profile_index, None
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.record("set_input_shape", name, shape)
        least, _, most = self.engine.plan.profiles[self.active_optimization_profile][name]
        if not all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)):
            self.complain("IExecutionContext::setInputShape: Error Code 3: API Usage Error (out of profile)")
            return False
        self.shape = shape
        return True

    def infer_shapes(self) -> list[str]:
        self.record("infer_shapes")
        return [] if self.shape else ["ids"]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        self.record("get_tensor_shape", name)
        return self.shape or (-1, -1)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.record("set_tensor_address", name, memory)
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        self.record("execute_async_v3", stream_handle)
        if self.shape is None or set(self.addresses) != {"ids", "out"}:
            self.complain("IExecutionContext::executeV3: Error Code 3: API Usage Error (address is not set)")
            return False
        size, source, to = int(np.prod(self.shape)), self.addresses["ids"], self.addresses["out"]

        def work() -> None:
            ids = np.ctypeslib.as_array(ctypes.cast(source, ctypes.POINTER(ctypes.c_int64)), (size,))
            np.ctypeslib.as_array(ctypes.cast(to, ctypes.POINTER(ctypes.c_float)), (size,))[:] = ids * 2
            self.gpu.clock_ms += 0.25

        if self.gpu.capturing is not None:
            if not self.gpu.capturable:
                self.complain("Cuda Runtime (operation not permitted when stream is capturing)")
                return False
            self.gpu.capturing.append(work)
        else:
            work()
        return True


class CUDA:
    """cuda.bindings.runtime, played: every function answers (error, values...), as there."""

    def __init__(self, real: ModuleType, gpu: GPU) -> None:
        self._real, self._gpu = real, gpu

    def __getattr__(self, name: str) -> Any:
        played = getattr(type(self), f"_{name}", None)
        if played is None:
            return getattr(self._real, name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self._gpu.record("cuda", name, *arguments)
            result = played(self, *arguments)
            if isinstance(result, self._real.cudaError_t):
                return (result, None)
            return (self._real.cudaError_t.cudaSuccess, *(() if result is None else result))

        call.__name__ = name
        return call

    def _cudaStreamCreateWithFlags(self, flags: int) -> tuple[int]:  # noqa: N802
        return (7,)

    def _cudaMemGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self._gpu.free_bytes, 1 << 30

    def _cudaMalloc(self, size: int) -> Any:  # noqa: N802
        if size > self._gpu.free_bytes:
            return self._real.cudaError_t.cudaErrorMemoryAllocation
        memory = ctypes.create_string_buffer(size)
        self._gpu.memory[ctypes.addressof(memory)] = memory
        self._gpu.free_bytes -= size
        return (ctypes.addressof(memory),)

    def _cudaFree(self, pointer: int) -> None:  # noqa: N802
        self._gpu.free_bytes += len(self._gpu.memory.pop(pointer))

    def _cudaMemcpyAsync(self, to: int, source: int, count: int, kind: Any, stream: int) -> None:  # noqa: N802
        ctypes.memmove(to, source, count)

    def _cudaStreamSynchronize(self, stream: int) -> None:  # noqa: N802
        assert self._gpu.capturing is None, "a stream that is captured must not be waited for"

    def _cudaStreamBeginCapture(self, stream: int, mode: Any) -> None:  # noqa: N802
        self._gpu.capturing = []

    def _cudaStreamEndCapture(self, stream: int) -> tuple[Any]:  # noqa: N802
        captured, self._gpu.capturing = self._gpu.capturing, None
        return (captured,)

    def _cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any]:  # noqa: N802
        return (graph,)

    def _cudaGraphDestroy(self, graph: Any) -> None:  # noqa: N802
        return None

    def _cudaGraphExecDestroy(self, graph: Any) -> None:  # noqa: N802
        return None

    def _cudaGraphLaunch(self, graph: Any, stream: int) -> None:  # noqa: N802
        for work in graph:
            work()

    def _cudaEventCreate(self) -> tuple[list[float]]:  # noqa: N802
        return ([0.0],)

    def _cudaEventRecord(self, event: list[float], stream: int) -> None:  # noqa: N802
        event[0] = self._gpu.clock_ms

    def _cudaEventSynchronize(self, event: Any) -> None:  # noqa: N802
        return None

    def _cudaEventElapsedTime(self, start: list[float], end: list[float]) -> tuple[float]:  # noqa: N802
        return (end[0] - start[0],)

    def _cudaEventDestroy(self, event: Any) -> None:  # noqa: N802
        return None
