"""Backends, tasks and renderers by name. Ours and a stranger's come through the same entry points."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from types import ModuleType

from optibench.errors import OptibenchError, first_line, unknown_name

GROUPS = {
    "backend": "optibench.backends",
    "task": "optibench.tasks",
    "renderer": "optibench.renderers",
}


@cache
def _entry_points(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUPS[kind])}


def names(kind: str) -> tuple[str, ...]:
    """The names registered for ``kind`` (backend, task or renderer), sorted; nothing is imported."""
    return tuple(sorted(_entry_points(kind)))


def check(kind: str, name: str) -> str:
    """``name`` itself if it is registered, else an error with the nearest names."""
    if name not in _entry_points(kind):
        raise unknown_name(kind, name, names(kind))
    return name


def load(kind: str, name: str) -> ModuleType:
    """The module registered under ``name``. Errors: an unknown name; a plugin that cannot be imported."""
    check(kind, name)
    point = _entry_points(kind)[name]
    try:
        loaded = point.load()
    except Exception as error:
        raise OptibenchError(
            f"The {kind} {name!r} ({point.value}) cannot be imported: {first_line(error)}. "
            "Reinstall or remove the distribution that registers it."
        ) from error
    assert isinstance(loaded, ModuleType), f"{point.value} is not a module"
    return loaded
