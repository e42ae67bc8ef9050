"""Tools that cannot be installed beside optibench, each in an environment of its own that optibench makes and drives
when asked: ``optibench env add modelopt``. They lie in the artifact cache; their versions belong to what they make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optibench import environment
from optibench.cache import Cache
from optibench.errors import OptibenchError, Unsupported, unknown_name
from optibench.values import Value

Say = Callable[[str], None]


class Tool(Value, frozen=True, kw_only=True):
    """One tool: what it is for, what is asked of pip, and the exact versions of what decides its results."""

    name: str
    what: str
    requirements: tuple[str, ...]
    versions: dict[str, str]

    @property
    def constraints(self) -> list[str]:
        return [f"{name}=={version}" for name, version in self.versions.items()]


MODELOPT = Tool(
    name="modelopt",
    what='NVIDIA\'s Model Optimizer: Q/DQ for TensorRT ([options.tensorrt] qdq = "modelopt" in a target)',
    requirements=("nvidia-modelopt[onnx]", "torch==2.13.0"),  # named here, since it is a CPU build where one is offered
    versions={"nvidia-modelopt": "0.47.0", "onnx": "1.21.0", "onnxruntime": "1.24.1", "torch": "2.13.0"},
)
TOOLS = {tool.name: tool for tool in (MODELOPT,)}


def named(name: str) -> Tool:
    """The tool of that name. Error: there is none, with those there are."""
    if name not in TOOLS:
        raise unknown_name("tool", name, TOOLS, "optibench env list tells what each is for.")
    return TOOLS[name]


def add(name: str, cache: Cache, say: Say) -> Path:
    """The Python of the tool's environment, which is made if it is not there. Error: pip's own."""
    tool = named(name)
    hint = "It needs the package index, some gigabytes of room and a Python that the tool supports."
    return environment.from_lines(list(tool.requirements), tool.constraints, cache, say, hint)


def python_of(name: str, cache: Cache) -> Path:
    """The Python of the tool's environment. Raises Unsupported, with the command that adds it, if it is not there."""
    entry = _key(named(name))
    if not cache.path(entry).is_dir():
        raise Unsupported(f"{name} is asked for and has no environment here: optibench env add {name}")
    return environment.interpreter(cache.path(entry) / "venv")


def remove(name: str, cache: Cache) -> int:
    """Removes the tool's environment; gives its bytes. Error: it is not there."""
    size = size_of(named(name), cache)
    if size is None:
        raise OptibenchError(f"{name} has no environment here, so there is nothing to remove.")
    cache.remove(_key(named(name)))
    return size


def size_of(tool: Tool, cache: Cache) -> int | None:
    """The bytes of the tool's environment; None if it is not there."""
    return next((entry.bytes for key, entry in cache.entries() if key == _key(tool) and entry), None)


def _key(tool: Tool) -> str:
    return environment.key(list(tool.requirements), tool.constraints)
