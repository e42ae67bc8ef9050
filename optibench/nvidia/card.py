"""Which NVIDIA GPU an engine is built for and measured on, asked of NVML (nvidia-ml-py): no CUDA context is made."""

from __future__ import annotations

import os

from optibench.errors import Unsupported, first_line
from optibench.values import Value


class Card(Value, frozen=True, kw_only=True):
    """What an engine depends on: it runs on no other card, and a new driver may choose other kernels."""

    name: str
    compute_capability: str
    driver: str
    cuda: str


def card() -> Card:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves. Raises Unsupported with NVML's own reason."""
    try:
        import pynvml
    except ImportError as error:
        raise Unsupported("nvidia-ml-py is not installed: pip install 'optibench[tensorrt]'") from error
    try:
        pynvml.nvmlInit()
        handle = _handle(pynvml, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip())
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        version = pynvml.nvmlSystemGetCudaDriverVersion()
        return Card(
            name=pynvml.nvmlDeviceGetName(handle),
            compute_capability=f"{major}.{minor}",
            driver=pynvml.nvmlSystemGetDriverVersion(),
            cuda=f"{version // 1000}.{version % 1000 // 10}",
        )
    except pynvml.NVMLError as error:
        raise Unsupported(f"no NVIDIA GPU can be asked: {first_line(str(error))}") from error


def _handle(pynvml: object, visible: str) -> object:
    """CUDA_VISIBLE_DEVICES names a GPU by its number, or by the id of a GPU or MIG instance."""
    if visible.startswith(("GPU-", "MIG-")):
        return pynvml.nvmlDeviceGetHandleByUUID(visible)  # type: ignore[attr-defined]
    return pynvml.nvmlDeviceGetHandleByIndex(int(visible) if visible.isdigit() else 0)  # type: ignore[attr-defined]
