"""CUDA's and NVML's own Python functions where there is no driver: reasons in words, never a crash."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from optibench.errors import CaseFailed, Unsupported
from optibench.nvidia import alive


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


def test_every_nvml_function_that_is_used_exists() -> None:
    import ast

    import pynvml

    from optibench.nvidia import card

    tree = ast.parse(Path(card.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("nvml")}
    assert "nvmlInit" in used
    assert not [name for name in sorted(used) if not hasattr(pynvml, name)]


STAND_IN = """
#include <stddef.h>
#define CALL(name, result) int name() { return result; }
CALL(cuInit, 0) CALL(cuDeviceGet, 0) CALL(cuDevicePrimaryCtxRetain, 0) CALL(cuCtxSetCurrent, 0) CALL(cuMemAlloc_v2, 0)
CALL(cuMemsetD8_v2, 0) CALL(cuCtxSynchronize, ANSWER)
int cuGetErrorString(int error, const char **text) { *text = "uncorrectable ECC error encountered"; return 0; }
"""


@pytest.mark.parametrize(
    ("answer", "reason"), [(0, None), (214, "cuCtxSynchronize: uncorrectable ECC error encountered")]
)
def test_a_device_is_asked_by_making_a_context_and_writing_memory(
    tmp_path: Path, answer: int, reason: str | None
) -> None:
    library = tmp_path / "libcuda.so.1"
    command = ["gcc", "-x", "c", "-", "-shared", "-fPIC", f"-DANSWER={answer}", "-o", library]
    subprocess.run(command, input=STAND_IN, text=True, check=True)
    assert alive.silent({}, str(library)) == reason


def test_every_driver_function_that_is_asked_is_one_of_cudas_driver_api() -> None:
    from cuda.bindings import driver

    used = {name.removesuffix("_v2") for name in re.findall(r"\bcu[A-Z]\w+", alive.ASK)}
    assert "cuInit" in used
    assert not [name for name in sorted(used) if not hasattr(driver, name)]
