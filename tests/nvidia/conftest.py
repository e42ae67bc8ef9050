"""The real bindings of one TensorRT version, without its gigabyte of libraries, and what is made of them.

OPTIBENCH_TENSORRT names a folder into which a bindings wheel was installed (tox.ini does it for each version). The
extension wants three libraries with nine functions: empty ones of those names let it load, with every class, enum and
docstring. A machine with a GPU is not needed, and nothing here computes.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")


@pytest.fixture(scope="session")
def bindings_folder() -> Path:
    return Path(os.environ["OPTIBENCH_TENSORRT"])  # tests/nvidia runs by tox -e nvidia, which sets it


@pytest.fixture(scope="session")
def empty_libraries(bindings_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of libraries that hold the functions which the extension asks for, and do nothing."""
    extension = next((bindings_folder / "tensorrt_bindings").glob("tensorrt*.so"))
    symbols = subprocess.run(["nm", "-D", "--undefined-only", extension], capture_output=True, text=True, check=True)
    wanted = [
        name
        for name in (line.split()[-1] for line in symbols.stdout.splitlines())
        if name.startswith(("createInfer", "createNvOnnx", "getNvOnnx", "getPlugin", "getBuilderPlugin", "initLibNv"))
    ]
    major = next(bindings_folder.glob("tensorrt_*.dist-info")).name.split("-")[1].split(".")[0]
    folder = tmp_path_factory.mktemp("libraries")
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in wanted)
    for name in LIBRARIES:
        library = folder / f"lib{name}.so.{major}"
        subprocess.run(
            ["gcc", "-x", "c", "-", "-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", library],
            input=source,
            text=True,
            check=True,
        )
    return folder


@pytest.fixture(scope="session")
def real(bindings_folder: Path, empty_libraries: Path) -> ModuleType:
    """The real bindings, imported. One version a process: their types are registered globally."""
    for library in empty_libraries.iterdir():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(bindings_folder))
    return importlib.import_module("tensorrt_bindings")
