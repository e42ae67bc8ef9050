"""NVIDIA TensorRT: known by name, so that a plan can say why it does not run. Engines are not built by this version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optibench.backends.base import Session
from optibench.errors import Unsupported
from optibench.values import Artifact, Build, Job, Target

if TYPE_CHECKING:
    from optibench.cache import Cache

FORMAT = "tensorrt"
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
EXTRA = "tensorrt"
RUNTIME = ("tensorrt",)

NOT_YET = "TensorRT engines are not built by this version of optibench; use onnxruntime on this target"


def probe(target: Target) -> str | None:
    """Always a reason, in this version."""
    return NOT_YET if target.device == "cuda" else f"tensorrt runs on NVIDIA GPUs, not on the device {target.device}"


def recipe(build: Build) -> dict[str, Any] | None:
    """Nothing is built."""
    return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """Says why not."""
    raise Unsupported(NOT_YET)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[Session]:
    """Says why not."""
    raise Unsupported(NOT_YET)
    yield
