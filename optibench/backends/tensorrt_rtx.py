"""NVIDIA TensorRT-RTX: engines for consumer cards, built ahead of time on any machine, finished on the card.

The target's ``[options.tensorrt-rtx] compute_capability`` names the cards; without it an engine is for all from Ampere
on. Building needs no GPU and no driver, so ``optibench export`` works anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optibench.backends import tensorrt
from optibench.nvidia.bindings import RTX
from optibench.values import Artifact, Build, Job, Target

if TYPE_CHECKING:
    from optibench.cache import Cache
    from optibench.nvidia.session import EngineSession

FORMAT = "tensorrt"
PRECISIONS = tensorrt.PRECISIONS
EXTRA = "tensorrt-rtx"
RUNTIME = ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs")
AHEAD_OF_TIME = True
NEEDS = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "cuda-bindings", "numpy")


def probe(target: Target) -> str | None:
    """It builds for NVIDIA GPUs wherever it is installed."""
    return tensorrt.probe_for(RTX, target)


def recipe(build: Build) -> dict[str, Any] | None:
    """All that decides the engine; the card in this machine is not among it."""
    return tensorrt.engine_recipe(RTX, build)


def prepare(build: Build, cache: Cache) -> Artifact:
    """The engine, from the cache or built now."""
    return tensorrt.engine_artifact(RTX, build, cache)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[EngineSession]:
    """Opens the engine; its kernels are made for the card while it loads."""
    yield tensorrt.engine_session(RTX, artifact, job)


def usage(file: str, precision: str) -> tuple[str, str]:
    """The imports and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    return "import numpy as np\nimport tensorrt_rtx_bindings as trt\nfrom cuda.bindings import runtime as cuda", (
        f'''

def ok(result):  # CUDA's calls answer (error, values...)
    assert int(result[0]) == 0, result[0]
    return result[1] if len(result) > 1 else None


engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine((here / "{file}").read_bytes())
assert engine is not None, "the log above says why"
context, stream = engine.create_execution_context(), ok(cuda.cudaStreamCreate())
names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
outputs = {{}}
for name in sorted(names, key=lambda n: engine.get_tensor_mode(n) != trt.TensorIOMode.INPUT):
    kind = trt.nptype(engine.get_tensor_dtype(name))
    if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        array = np.ascontiguousarray(inputs[name], kind)
        context.set_input_shape(name, array.shape)
    else:
        array = outputs[name] = np.empty(tuple(context.get_tensor_shape(name)), kind)
    pointer = ok(cuda.cudaMalloc(array.nbytes))
    ok(cuda.cudaMemcpy(pointer, array.ctypes.data, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice))
    context.set_tensor_address(name, int(pointer))
context.execute_async_v3(int(stream))
ok(cuda.cudaStreamSynchronize(stream))
for name, array in outputs.items():
    pointer = context.get_tensor_address(name)
    ok(cuda.cudaMemcpy(array.ctypes.data, pointer, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost))
print([array.shape for array in outputs.values()])'''
    )
