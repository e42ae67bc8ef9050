"""Values to JSON and back without loss: no NaN, no null where the type does not allow one, no other schema."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from optibench import __version__
from optibench.errors import OptibenchError
from optibench.values import Value, digest_of

T = TypeVar("T", bound=Value)

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What reading JSON ends with that is none, does not fit, or is nested too deeply for any parser."""


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


def sealed_json(value: Value) -> bytes:
    """JSON whose field ``sha256`` is the digest of all the rest, so that a later edit shows."""
    plain = msgspec.json.decode(strict_json(value))
    return msgspec.json.encode({**plain, "sha256": seal_of(plain)})


def seal_of(plain: dict[str, Any]) -> str:
    """The digest of decoded JSON without its ``sha256``: formatting and the order of keys do not count, and it stays
    what it was when a later version adds fields."""
    return digest_of({key: value for key, value in plain.items() if key != "sha256"})


def sealed_from_json(data: bytes, kind: type[T], schema: int, where: str, mend: str) -> T:
    """The value that ``sealed_json`` wrote. Errors: those of ``value_from_json``; the content is not what was sealed
    (``mend`` says what to do then). Data without a digest pass."""
    value = value_from_json(data, kind, schema, where)
    plain = msgspec.json.decode(data)
    if plain.get("sha256") and plain["sha256"] != seal_of(plain):
        raise OptibenchError(
            f"{where} was changed after it was written: its sha256 is not that of its content. "
            f"A number edited by hand is none that was measured. {mend}"
        )
    return value


class _Schema(msgspec.Struct):
    """Just the schema's number, of whatever else there is."""

    schema: int


def value_from_json(data: bytes, kind: type[T], schema: int, where: str) -> T:
    """The value that ``data`` holds. Errors, which name the place ``where``: it is damaged, or of another schema."""
    try:
        found = msgspec.json.decode(data, type=_Schema).schema
        if found == schema:
            return msgspec.json.decode(data, type=kind)
    except UNREADABLE as error:
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
