"""The code that calls TensorRT, held against the real bindings: every name exists, and every call has their types."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from tests.nvidia import stubs

NVIDIA = stubs.ROOT / "optibench" / "nvidia"
RTX_ONLY = {"DynamicShapesKernelSpecializationStrategy", "ComputeCapability"}


def names_used() -> set[str]:
    """Every dotted name below ``trt`` in the package's sources, such as BuilderFlag.TF32."""
    found = set()
    for path in NVIDIA.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = dotted(node)
            if name.startswith("trt."):
                found.add(name.removeprefix("trt."))
    return found


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def exists(module: ModuleType, name: str) -> bool:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_names_are_found_in_the_sources() -> None:
    assert {"Builder", "BuilderFlag.TF32", "OnnxParser", "Runtime"} <= names_used()


def test_every_name_that_is_used_exists_in_this_tensorrt(real: ModuleType) -> None:
    used = {name for name in names_used() if name.partition(".")[0] not in RTX_ONLY}
    assert not [name for name in sorted(used) if not exists(real, name)]


@pytest.fixture(scope="module")
def tensorrt_stubs(bindings_folder: Path, empty_libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    paths = {"PYTHONPATH": str(bindings_folder), "LD_LIBRARY_PATH": str(empty_libraries)}
    return stubs.stubs_from_bindings("tensorrt_bindings.tensorrt", "tensorrt", tmp_path_factory.mktemp("trt"), paths)


def test_mypy_finds_every_call_right_for_this_tensorrt(tensorrt_stubs: Path, tmp_path: Path) -> None:
    package = stubs.typed_copy(tmp_path, "tensorrt", ahead_of_time=False)
    assert stubs.mypy(package, tensorrt_stubs, tmp_path, "tensorrt").startswith("Success")


WRONG = {
    # A method that is gone, an argument that is missing, a name that never was: each with what mypy says of it.
    "execute_async_v3(self.device.stream)": ("execute_async_v2(self.device.stream)", 'no attribute "execute_async_v2"'),
    "config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, ": (
        "config.set_memory_pool_limit(",
        'argument "pool_size" in call to "set_memory_pool_limit"',
    ),
    "trt.BuilderFlag.TF32": ("trt.BuilderFlag.FP64", 'no attribute "FP64"'),
}


def test_mypy_finds_calls_that_are_wrong(tensorrt_stubs: Path, tmp_path: Path) -> None:
    package = stubs.typed_copy(tmp_path, "tensorrt", ahead_of_time=False)
    for path in (package / "nvidia").glob("*.py"):
        text = path.read_text()
        for right, (wrong, _) in WRONG.items():
            text = text.replace(right, wrong)
        path.write_text(text)
    said = stubs.mypy(package, tensorrt_stubs, tmp_path, "tensorrt")
    assert not [found for _, found in WRONG.values() if found not in said], said
