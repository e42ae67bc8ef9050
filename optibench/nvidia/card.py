"""Which NVIDIA GPU an engine is built for and measured on, as gpus.py tells: no CUDA context is made."""

from __future__ import annotations

import functools
import os

from optibench import gpus
from optibench.errors import Unsupported
from optibench.value import Value


class Card(Value, frozen=True, kw_only=True):
    """What an engine depends on: it runs on no other card, and a new driver may choose other kernels."""

    name: str
    compute_capability: str
    driver: str
    cuda: str


@functools.cache
def card(device: str = "") -> Card:
    """The GPU with that UUID; without one, the first that CUDA_VISIBLE_DEVICES leaves. Raises Unsupported with NVML's
    own reason."""
    seen = gpus.look()
    if seen is None:
        raise Unsupported("no NVIDIA GPU can be asked: NVML Shared Library Not Found (no NVIDIA driver here)")
    usable = gpus.usable(seen, {} if device else os.environ)
    found = next((gpu for gpu in usable.gpus if device in ("", gpu.uuid)), None)
    if found is None:
        raise Unsupported(f"no NVIDIA GPU can be asked: {usable.trouble or gpus.gone(device, seen)}")
    return Card(
        name=found.name,
        compute_capability=found.compute_capability,
        driver=usable.driver,
        cuda=usable.cuda,
    )
