"""The base of every value that flows through the pipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value: immutable, equal by content, unknown fields refused (``kw_only`` is said anew by each)."""


Shown = TypeVar("Shown", bound=Value)


def with_text(value: Shown, shown: Callable[[str], str]) -> Shown:
    """The value with ``shown`` applied to every text in it, so that none can be forgotten."""

    def walk(value: Any) -> Any:
        match value:
            case str():
                return shown(value)
            case msgspec.Struct():
                return msgspec.structs.replace(value, **{f: walk(getattr(value, f)) for f in value.__struct_fields__})
            case dict():
                return {walk(key): walk(item) for key, item in value.items()}
            case tuple() | list():
                return type(value)(walk(item) for item in value)
            case _:
                return value

    changed: Shown = walk(value)
    return changed
