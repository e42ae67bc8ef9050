"""PyTorch with torch.compile: the checkpoint as the backend pytorch runs it, compiled by TorchInductor.

A backend of its own, so that both stand side by side in one run. The first call compiles, and its time is that call's;
PyTorch keeps what it compiled in a cache of its own for the next process.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optibench.backends import pytorch
from optibench.torch_session import CompiledSession
from optibench.values import Artifact, Job, Target

FORMAT = pytorch.FORMAT
PRECISIONS = pytorch.PRECISIONS
EXTRA = pytorch.EXTRA
RUNTIME = pytorch.RUNTIME

recipe = pytorch.recipe
prepare = pytorch.prepare


def probe(target: Target) -> str | None:
    """Where PyTorch runs and its compiler finds what it needs: on CPUs one for C++, on GPUs Triton and one for C."""
    return pytorch.probe(target) or _lacking(target.device)


def _lacking(device: str) -> str | None:
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        return (
            "triton is not installed, which torch.compile writes kernels for GPUs with; CUDA builds of torch bring it"
        )
    variable, usual = ("CC", "gcc") if device == "cuda" else ("CXX", "g++")
    compiler = os.environ.get(variable, usual)
    if shutil.which(compiler) is None:
        return (
            f"torch.compile needs a compiler and there is no {compiler}: apt-get install g++, or name it by {variable}"
        )
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.is_file():
        return f"torch.compile builds extensions of Python, and {header} is missing: apt-get install python3-dev"
    return None


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[CompiledSession]:
    """Loads the checkpoint in the case's precision. The target's ``[options.pytorch-compile] mode`` is torch.compile's;
    without one it is "default" on CPUs and "reduce-overhead", that is CUDA graphs, on GPUs."""
    import torch

    from optibench.torch_session import loaded

    usual = "reduce-overhead" if job.target.device == "cuda" else None
    mode = job.target.options.get("pytorch-compile", {}).get("mode", usual)
    with torch.inference_mode():
        yield CompiledSession(loaded(job), job.target.device, job.case.precision, job.shapes, mode)
