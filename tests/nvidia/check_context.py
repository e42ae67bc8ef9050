"""CUDA is asked after a worker died on a GPU for which NVML still answers: over stand-ins for both of the driver's
libraries, which the same processes load as they would the real ones."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optibench import cuda_context
from tests.conftest import Optibench, write_fake_target
from tests.nvidia.check_nvml import TARGET, UUIDS, Machine, compare, compiled, records

__all__ = ["compiled"]
ASK = f"import json\nfrom optibench import gpus\nprint(json.dumps(gpus.without_context({UUIDS[0]!r}, 2)))"


@pytest.fixture(scope="session")
def both(compiled: Callable[..., Path]) -> Path:
    """A folder with both libraries."""
    folder = compiled()
    source = Path(__file__).with_name("cuda.c")
    flags = ("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run(["gcc", *flags, source, "-o", folder / cuda_context.LIBRARY], check=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path, both: Path) -> Machine:
    return Machine(tmp_path, both)


def test_every_function_that_is_called_is_one_of_the_drivers() -> None:
    """By cuda-bindings, which looks each up in the same library by the same name."""
    import ast

    from cuda.bindings import driver

    tree = ast.parse(Path(cuda_context.__file__).read_text())
    names = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and str(n.value).startswith("cu")}
    names = {name for name in names if name[2:3].isupper()}
    assert {"cuInit", "cuMemAlloc_v2", "cuGetErrorName"} <= names
    assert not [name for name in sorted(names) if not hasattr(driver, name.removesuffix("_v2"))]
    looked_up = b"".join(path.read_bytes() for path in Path(driver.__file__).parent.rglob("*driver*.so"))
    assert not [name for name in sorted(names) if name.encode() + b"\0" not in looked_up]


def test_a_gpu_on_which_cuda_works_has_nothing_against_it(machine: Machine) -> None:
    assert machine.run(ASK) is None


def test_memory_that_others_hold_is_no_sign_of_a_gpu_that_is_gone(machine: Machine) -> None:
    for function in ("cuDevicePrimaryCtxRetain", "cuMemAlloc_v2"):
        machine(cuda_fails=f"{function} 2")
        assert machine.run(ASK) is None


@pytest.mark.parametrize("function", ["cuInit", "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuCtxSynchronize"])
def test_what_fails_is_told_in_cudas_words_with_what_to_do(machine: Machine, function: str) -> None:
    machine(cuda_fails=f"{function} 719")
    said = machine.run(ASK)
    assert said.startswith(f"CUDA cannot make a context on the GPU {UUIDS[0]} though NVML answers: {function}: ")
    assert "unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED, 719)" in said
    assert f"nvidia-smi --gpu-reset -i {UUIDS[0]}" in said


def test_cuda_that_hangs_keeps_nobody(machine: Machine) -> None:
    machine(cuda_hangs="cuDevicePrimaryCtxRetain")
    assert "it did not answer within 2 s" in machine.run(ASK)


def test_a_driver_without_cudas_library_is_told_by_its_name() -> None:
    assert "libcuda.so.1" in (cuda_context.ask().trouble or "")


@pytest.mark.parametrize(
    ("cuda", "status", "words"),
    [
        pytest.param({"cuda_fails": "cuCtxSynchronize 719"}, "failed", "CUDA cannot make a context", id="fails"),
        pytest.param(
            {"cuda_hangs": "cuInit"}, "failed", "it did not answer within 3 s", id="hangs", marks=pytest.mark.slow
        ),
        pytest.param({}, "ok", "", id="works"),
    ],
)
def test_after_a_worker_died_the_other_cases_of_its_gpu_go_on_only_where_cuda_still_works(
    optibench: Optibench, machine: Machine, tiny_bert: Path, tmp_path: Path, cuda: Any, status: str, words: str
) -> None:
    machine(**cuda)
    folder = write_fake_target(tmp_path / "targets", bf16={"fail": "crash"}, int8={"latency_seconds": 0.004})
    text = (folder / "pretend.toml").read_text()
    (folder / "plain.toml").write_text(text.replace('"pretend"', '"plain"').replace('"crash"', '""'))
    (folder / "pretend.toml").write_text(text.replace('device = "cpu"\n', TARGET[0]) + TARGET[1])
    done = compare(
        optibench, tiny_bert, folder, machine, "--targets", "plain,pretend", "--quick",
        OPTIBENCH_GPU_LOOK_SECONDS="3",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records(folder):
        found.setdefault(f"{record['case']['target']}/{record['case']['precision']}", []).append(record)
    assert {one["status"] for name in found if name.startswith("plain/") for one in found[name]} == {"ok"}
    (crashed,) = [one for one in found["pretend/bf16"] if one["status"] != "ok"]
    assert "it crashed (SIGSEGV)" in crashed["reason"]
    for name in ("pretend/fp32", "pretend/int8"):
        assert {one["status"] for one in found[name]} == {status}, json.dumps(found[name])[:2000]
        assert all(words in (one["reason"] or "") for one in found[name])
