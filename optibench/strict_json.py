"""Values to JSON and back without loss: no NaN, no null where the type does not allow one, no other schema."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from optibench import __version__
from optibench.errors import OptibenchError
from optibench.values import Value

T = TypeVar("T", bound=Value)


def strict_json(value: Any) -> bytes:
    """JSON that says exactly what ``value`` says. msgspec writes NaN and infinity as null, which would read as "not
    known" where the type allows None and fail where it does not; here both are an error that names the place."""
    for place, number in _floats(msgspec.to_builtins(value), ""):
        if not math.isfinite(number):
            raise OptibenchError(
                f"{type(value).__name__}{place} is {number}, which JSON cannot hold. "
                "This is a defect in what computed it: please report it."
            )
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise OptibenchError(
            f"{error.object[:200]!r} is not valid Unicode, so it cannot be written as JSON. Rename what it names."
        ) from error


class _Schema(msgspec.Struct):
    """Just the schema's number, of whatever else there is."""

    schema: int


def value_from_json(data: bytes, kind: type[T], schema: int, where: str) -> T:
    """The value that ``data`` holds. Errors, which name the place ``where``: it is damaged, or of another schema."""
    try:
        found = msgspec.json.decode(data, type=_Schema).schema
        if found == schema:
            return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OptibenchError(
            f"{where} is not a whole {kind.__name__.lower()}: {error}. "
            "It was damaged or edited: restore it or remove it."
        ) from error
    raise OptibenchError(
        f"{where} has schema {found}; this optibench ({__version__}) reads schema {schema}. "
        "Read it with the version that wrote it, or update: pip install --upgrade optibench"
    )


def _floats(value: Any, place: str) -> Iterator[tuple[str, float]]:
    """Every float inside plain JSON values, with its place (``.series[0].load_seconds``)."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _floats(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _floats(item, f"{place}[{index}]")
