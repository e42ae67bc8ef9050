"""Imports point downward only, and what must start fast imports nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "optibench"
HEAVY = (
    "torch",
    "transformers",
    "onnxruntime",
    "openvino",
    "onnx",
    "nncf",
    "pandas",
    "scipy",
    "numpy",
    "rich",
    "pyarrow",
)


def layers() -> dict[str, int]:
    """Module or folder -> its layer, as ARCHITECTURE.md states them: the picture is what is enforced."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    found = {}
    for number, names in re.findall(r"^    (\d)  ([^\n]*?)(?:  +[a-zA-Z].*)?$", text, re.MULTILINE):
        for name in re.split(r",\s*", names.strip()):
            found[name.strip().removesuffix("/*")] = int(number)
    return found


def layer_of(module: str) -> int | None:
    return layers().get(module.removeprefix("optibench.").partition(".")[0])


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported(path: Path) -> set[str]:
    """The optibench modules that a file imports anywhere, for types alone excepted."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "optibench":
            found |= {f"optibench.{alias.name}" for alias in node.names if not alias.name.startswith("__")}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("optibench."):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("optibench.")}
    return found


def name_of(path: Path) -> str:
    return "optibench." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_has_a_layer_and_imports_only_its_own_or_lower_ones(path: Path) -> None:
    mine = layer_of(name_of(path))
    assert mine is not None, f"ARCHITECTURE.md names no layer for {name_of(path)}"
    for other in imported(path):
        theirs = layer_of(other)
        assert theirs is not None, other
        assert theirs <= mine, f"{name_of(path)} (layer {mine}) imports {other} (layer {theirs})"


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["compare", "--help"],
        ["gate", "--help"],
        ["baseline", "show", "--help"],
        ["targets"],
        ["backends"],
        ["doctor"],
        ["compair"],
        ["--version"],
    ],
)
def test_quick_commands_import_nothing_heavy(args: list[str]) -> None:
    code = (
        f"import sys\nfrom optibench import cli\nsys.argv = ['optibench', *{args!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("LOADED []"), done.stdout[-300:] + done.stderr[-2000:]


def test_a_slim_worker_imports_no_torch_and_no_exporter() -> None:
    code = (
        "import sys, optibench.worker, optibench.backends.onnxruntime, optibench.backends.openvino, optibench.arrays\n"
        "import optibench.tasks.sentence_similarity, numpy, onnxruntime, openvino\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'scipy', 'click', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_stay_short_enough_to_read_in_one_go() -> None:
    long = {name_of(p): n for p in modules() if (n := len(p.read_text().splitlines())) > 430}
    assert not long
