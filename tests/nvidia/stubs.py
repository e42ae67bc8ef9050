"""Type information for mypy, made from the real bindings when tests run: NVIDIA's text is not kept here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

STUBGEN = "import sys; from mypy.stubgen import main; main(sys.argv[1:])"
NPTYPE = "\ndef nptype(trt_type: DataType) -> type[numpy.generic]: ...\n__version__: str\n"
"""What the package's own Python file adds to the extension."""
ROOT = Path(__file__).parent.parent.parent


def stubs_from_bindings(extension: str, module: str, out: Path, paths: dict[str, str]) -> Path:
    """A folder for MYPYPATH with ``module`` typed as the ``extension`` says (package.extension)."""
    made = out / "generated"
    subprocess.run(
        [sys.executable, "-c", STUBGEN, "-q", "--inspect-mode", "-m", extension, "-o", str(made)],
        env={**os.environ, **paths},
        check=True,
    )
    text = (made / (extension.replace(".", "/") + ".pyi")).read_text()
    folder = out / "stubs" / module
    folder.mkdir(parents=True)
    (folder / "__init__.pyi").write_text(repaired(text) + NPTYPE)
    return folder.parent


def repaired(text: str) -> str:
    """stubgen's text, made fit for mypy: a few things it writes are not what the extension does."""
    # A parameter without a default after ones that have one is a syntax error.
    text = re.sub(r"(def add_scale_nd\(.*channel_axis: typing\.SupportsInt)\)", r"\1 = ...)", text)
    # A module variable of the name bool would stand for the builtin.
    text = re.sub(r"^bool: DataType$", "", text, flags=re.MULTILINE)
    # Sizes may be any sequence of numbers: pybind11 converts it.
    text = re.sub(r"(\w+): Dims\b(?=[,)= ])", r"\1: Dims | collections.abc.Sequence[int]", text)
    # Dims have __len__ and __getitem__, so they can be iterated over.
    text = text.replace("class Dims:", "class Dims:\n    def __iter__(self) -> typing.Iterator[int]: ...")
    # What TensorRT passes to a method of ours is a number itself; a phase may have no parent.
    text = re.sub(r"\b(num_steps|step): typing\.SupportsInt", r"\1: int", text)
    text = text.replace("parent_phase: str,", "parent_phase: str | None,")
    # Its docstring names its type as C++ does, which stubgen does not understand.
    text = text.replace("def get_error(self, *args, **kwargs):", "def get_error(self, index: int) -> ParserError:")
    # Host memory is a buffer.
    buffer = "class IHostMemory:\n    def __buffer__(self, flags: int, /) -> memoryview: ..."
    text = text.replace("class IHostMemory:", buffer)
    return "# mypy: ignore-errors\n" + text


REWRITES = (
    (r"^( *)trt = bindings\((self\.)?flavour\)$", r"\1import {module} as trt"),
    (r"\b(self\.)?flavour\.ahead_of_time\b", "{ahead}"),
    (r"\bconfig: Any\b", 'config: "{module}.IBuilderConfig"'),
    (r"def _context\(self\) -> Any:", 'def _context(self) -> "{module}.IExecutionContext":'),
    (r"^(from optibench\.nvidia\.bindings import .*)$", r"import {module}\n\1"),
)
"""The package opens one of two modules by name; mypy is shown the same code with that one imported."""


def typed_copy(out: Path, module: str, ahead_of_time: bool) -> Path:
    """The package in ``out``, with the one line that is dynamic made an import of ``module``."""
    shutil.copytree(ROOT / "optibench", out / "optibench", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (out / "optibench" / "nvidia").glob("*.py"):
        text = path.read_text()
        for pattern, to in REWRITES:
            text = re.sub(pattern, to.format(module=module, ahead=ahead_of_time), text, flags=re.MULTILINE)
        path.write_text(text)
    return out / "optibench"


def mypy(package: Path, stubs: Path, out: Path, module: str) -> str:
    """What mypy --strict says of the typed copy of optibench/nvidia."""
    settings = (ROOT / "pyproject.toml").read_text().replace('packages = ["optibench"]', "")
    settings = settings.replace(f'"{module}.*", ', "").replace(
        "strict = true", "strict = true\nwarn_unused_ignores = false"
    )
    (out / "pyproject.toml").write_text(settings)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--config-file",
            "pyproject.toml",
            "--cache-dir",
            str(out.parent / "mypy-cache"),
            str(package / "nvidia"),
        ],
        cwd=out,
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr
