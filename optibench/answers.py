"""A build's answers to the evaluation inputs, in the order of the data: read from the worker's file when asked for.

The file is in order of length and may be larger than memory: vectors of an embedding model, logits of each token.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, overload

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

PART_BYTES = 1_000_000
"""So much is read at once where all answers are gone through."""


class _File:
    """float32 numbers in a file, which is closed with this object."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def __del__(self) -> None:
        self.file.close()

    def read(self, start: int, into: Array) -> None:
        """Fills the array with the numbers from ``start`` on."""
        self.file.seek(4 * start)
        left = into.reshape(-1).view("u1").data
        while len(left):  # of gigabytes, one call may give less than was asked for
            got = self.file.readinto(left)  # type: ignore[attr-defined]  # a file without a buffer has it
            if not got:
                raise EOFError("the worker's answers end before their number")
            left = left[got:]


class _Held:
    """Numbers that are at hand."""

    def __init__(self, array: Array) -> None:
        self.array = array.reshape(-1)

    def read(self, start: int, into: Array) -> None:
        """As of a file."""
        into.reshape(-1)[:] = self.array[start : start + into.size]


class Answers(Sequence["Array"]):
    """One vector an input; or, where ``several``, an array of shape (answers, size) for each input. A slice is Answers
    too; ``rows()`` reads them.

    ``starts`` and ``counts``: each input's first row in the source, and how many it has.
    """

    def __init__(self, source: _File | _Held, size: int, starts: Array, counts: Array, several: bool) -> None:
        self._source, self.size, self._starts, self._counts, self.several = source, size, starts, counts, several

    @classmethod
    def of(cls, array: Array, counts: Sequence[int] = ()) -> Answers:
        """Those of an array in the order of the data; ``counts``: rows of each input, if not one."""
        import numpy as np

        several = len(counts) > 0
        rows = np.asarray(counts, np.int64) if several else np.ones(len(array), np.int64)
        return cls(_Held(np.asarray(array, np.float32)), array.shape[1], np.cumsum(rows) - rows, rows, several)

    @classmethod
    def of_file(cls, judged: dict[str, Any], order: Sequence[int]) -> Answers:
        """Those of a worker's reply (file, count, size, rows); ``order[i]`` is the place in the data of the file's
        input i."""
        import numpy as np

        source = _File(Path(judged["file"]).open("rb", buffering=0))  # noqa: SIM115 (closed with the object)
        rows = judged.get("rows") or []
        if (len(rows) or judged["count"]) != len(order):  # of another number than the inputs: as they are
            count = judged["count"]
            return cls(source, judged["size"], np.arange(count), np.ones(count, np.int64), False)
        back = np.argsort(np.asarray(order, np.int64), kind="stable")  # place in the file of each input
        counts = np.asarray(rows, np.int64) if rows else np.ones(len(back), np.int64)
        starts = np.cumsum(counts) - counts
        return cls(source, judged["size"], starts[back], counts[back], bool(rows))

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> Array: ...
    @overload
    def __getitem__(self, place: slice) -> Answers: ...
    def __getitem__(self, place: int | slice) -> Array | Answers:
        if isinstance(place, slice):
            return Answers(self._source, self.size, self._starts[place], self._counts[place], self.several)
        place = range(len(self))[place]
        found = self[place : place + 1].rows()
        return found if self.several else found[0]

    def __iter__(self) -> Iterator[Array]:
        return (self[place] for place in range(len(self)))

    def rows(self) -> Array:
        """All of them, one below the other: shape (answers, size)."""
        import numpy as np

        found = np.empty((int(self._counts.sum()), self.size), np.float32)
        end = 0
        for start, count in zip(self._starts.tolist(), self._counts.tolist(), strict=True):
            begin, end = end, end + count
            self._source.read(start * self.size, found[begin:end])
        return found

    def without_last(self, count: int) -> Answers:
        """Each input's answers but for the last so many."""
        return Answers(self._source, self.size, self._starts, self._counts - count, self.several)

    def kept(self) -> Answers:
        """The same, of a temporary file that nobody else removes."""
        if not isinstance(self._source, _File):
            return self
        copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with the object that it becomes part of)
        self._source.file.seek(0)
        shutil.copyfileobj(self._source.file, copy)
        return Answers(_File(copy), self.size, self._starts, self._counts, self.several)

    def parts(self, together: int = 1) -> Iterator[slice]:
        """Where to cut them into parts of some megabytes; inputs that make an example (``together``) stay so."""
        bytes_each = 4 * self.size * int(self._counts.sum()) / max(1, len(self) // together)
        step = together * max(1, int(PART_BYTES / max(bytes_each, 1)))
        return (slice(start, start + step) for start in range(0, len(self), step))
