"""Values too many to hold: written to a temporary file as they come, read back one at a time.

What data a model is judged by may be larger than memory. Labels and answers are held; texts and arrays are not.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")


class Spool(Sequence[T]):
    """The values of ``values``, in order, in a file that is gone with this object; in memory are eight bytes each."""

    def __init__(self, values: Iterable[T] = ()) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed with this object)
        self._starts = array("Q", [0])
        for value in values:
            self.append(value)

    def append(self, value: T) -> None:
        """One more, at the end."""
        self._file.seek(self._starts[-1])
        pickle.dump(value, self._file, pickle.HIGHEST_PROTOCOL)
        self._starts.append(self._file.tell())

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return Picked(self, range(len(self))[place])
        self._file.seek(self._starts[range(len(self))[place]])
        value: T = pickle.load(self._file)  # noqa: S301 (a file without a name: nobody else can have written it)
        return value

    def __iter__(self) -> Iterator[T]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # as a list has none


class Picked(Sequence[T]):
    """Those of ``values`` that stand at ``places``, in that order."""

    def __init__(self, values: Sequence[T], places: Sequence[int]) -> None:
        self._values = values
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            return Picked(self._values, self.places[place])
        return self._values[self.places[place]]

    def __iter__(self) -> Iterator[T]:
        return (self._values[place] for place in self.places)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


def numbers(values: Sequence[T]) -> Iterator[int]:
    """What ``numbered`` gives, without reading the values."""
    places = values.places if isinstance(values, Picked) else range(len(values))
    return (place + 1 for place in places)


def numbered(values: Iterable[T]) -> Iterator[tuple[int, T]]:
    """The values with their numbers, from 1: of some that were picked those that they have where they were picked from,
    so that a row is called by the number that it has in its file."""
    places = values.places if isinstance(values, Picked) else count()
    return ((place + 1, value) for place, value in zip(places, values, strict=False))


class Lines(Iterable[Any]):
    """The values of a file of JSON, one a line, read anew each time that they are gone through."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Any]:
        with self._path.open("rb") as file:
            yield from map(msgspec.json.decode, file)

    @staticmethod
    def write(path: Path, values: Iterable[Any]) -> None:
        """Writes the file."""
        with path.open("wb") as file:
            for value in values:
                file.write(msgspec.json.encode(value) + b"\n")
