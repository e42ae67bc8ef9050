"""ONNX Runtime's TensorRT-RTX plugin provider, for consumer cards; any build of ONNX Runtime takes it.

Its engine is made while a session opens, in seconds, so the artifact is the graph with the shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends import onnxruntime_tensorrt as shared
from optibench.errors import Unsupported
from optibench.nvidia import providers
from optibench.nvidia.providers import RTX
from optibench.values import Artifact, Build, Job, Target

if TYPE_CHECKING:
    from optibench.cache import Cache
    from optibench.nvidia.bound import BoundSession

FORMAT = shared.FORMAT
PRECISIONS = ("fp32", "tf32", "fp16", "int8")
EXTRA = "onnxruntime-tensorrt-rtx"
RUNTIME = (
    *("onnxruntime", "onnxruntime-gpu"),
    *("onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-ep-nv-tensorrt-rtx-cu12"),
)
NEEDS = ("onnxruntime", "onnxruntime-ep-nv-tensorrt-rtx-cu13", "numpy")


def probe(target: Target) -> str | None:
    """It runs on NVIDIA GPUs from Ampere on, where the plugin is installed."""
    return providers.absent(RTX, target)


def recipe(build: Build) -> dict[str, Any] | None:
    """The graph's and the shapes'. None if no card can be asked; ``prepare`` says why."""
    try:
        return shared.engines_recipe(RTX, RUNTIME, build)
    except Unsupported:
        return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """The graph with its shapes, from the cache or made now."""
    return shared.engines_artifact(RTX, RUNTIME, build, cache)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[BoundSession]:
    """Opens the graph; its engine is made meanwhile."""
    yield shared.opened(RTX, Path(artifact.path), job.case.precision, job.target, job.threads)


def usage(file: str, precision: str) -> tuple[str, str]:
    """The imports and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    return "import json\n\nimport onnxruntime\nimport onnxruntime_ep_nv_tensorrt_rtx as plugin", (
        f'''onnxruntime.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == plugin.get_ep_name()]
settings = onnxruntime.SessionOptions()
settings.add_provider_for_devices(devices[:1], json.loads((here / "{shared.SHAPES}").read_text()))
session = onnxruntime.InferenceSession(here / "{file}", settings)
'''
        + shared.RUN
    )
