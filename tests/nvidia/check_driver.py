"""CUDA's and NVML's own Python functions where there is no driver: reasons in words, never a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench.errors import CaseFailed, Unsupported


def test_cuda_without_a_driver_says_what_failed_and_why() -> None:
    from optibench.nvidia.device import Device

    with pytest.raises(CaseFailed, match=r"cudaStreamCreateWithFlags: CUDA driver version .*InsufficientDriver"):
        Device()


def test_a_card_that_cannot_be_asked_is_a_reason_and_not_an_error() -> None:
    from optibench.nvidia.card import card

    with pytest.raises(Unsupported, match="no NVIDIA GPU can be asked: NVML Shared Library Not Found"):
        card()


def test_every_cuda_function_that_is_used_exists() -> None:
    import ast

    from cuda.bindings import runtime

    from optibench.nvidia import device

    tree = ast.parse(Path(device.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("cuda")}
    top = {name for name in used if name != "cuda"} - {
        *dir(runtime.cudaError_t),
        *dir(runtime.cudaMemcpyKind),
        *dir(runtime.cudaStreamCaptureMode),
    }
    assert "cudaMalloc" in top
    assert not [name for name in sorted(top) if not hasattr(runtime, name)]
