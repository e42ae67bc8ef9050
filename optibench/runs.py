"""Runs as they are kept: folders and bundles, found and read alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from optibench import bundle, store
from optibench.errors import OptibenchError
from optibench.results import COMPARISON_SCHEMA, Comparison
from optibench.strict_json import UNREADABLE, value_from_json
from optibench.values import Record


@dataclass(frozen=True)
class KeptRun:
    """A run's files by name, from the folder or bundle at ``path``."""

    path: Path
    files: Mapping[str, bytes]

    def records(self) -> tuple[list[Record], list[str]]:
        """The records, and warnings (a last line that was cut off). Errors: broken lines, another schema."""
        return store.records_from_bytes(self.files.get(store.RECORDS, b""), self._where(store.RECORDS))

    def start(self) -> dict[str, Any]:
        """plan.json: the plan, and how the run was begun. Errors: there is none, or it cannot be read."""
        data = self.files.get(store.PLAN)
        if data is None:
            raise OptibenchError(f"{self.path} has no {store.PLAN}: what was asked for is not known.")
        try:
            return msgspec.json.decode(data, type=dict[str, Any])
        except UNREADABLE as error:
            raise OptibenchError(f"{self._where(store.PLAN)} cannot be read: {error}.") from error

    def comparison(self) -> Comparison | None:
        """comparison.json; None for a run that was not finished. Errors: broken, another schema."""
        data = self.files.get(store.COMPARISON)
        where = self._where(store.COMPARISON)
        return None if data is None else value_from_json(data, Comparison, COMPARISON_SCHEMA, where)

    def _where(self, name: str) -> str:
        return f"{self.path}/{name}"


def open_kept(path: Path) -> KeptRun:
    """The run in a folder or a bundle. Errors: there is none; the bundle is damaged."""
    path = path.expanduser()
    if path.is_file():
        return KeptRun(path, bundle.read(path)[1])
    folder = store.open_run(path).path
    try:
        return KeptRun(path, {name: (folder / name).read_bytes() for name in bundle.KEPT if (folder / name).is_file()})
    except OSError as error:
        raise OptibenchError(f"{path} cannot be read: {error.strerror or error}.") from error


def found_in(places: Sequence[Path]) -> Iterator[Path]:
    """The runs at each place: itself, if it is a run's folder or a bundle, else all that lie below it, by name.

    Error: a place that does not exist.
    """
    seen = set()
    for place in places:
        place = place.expanduser()
        if not place.exists():
            raise OptibenchError(f"{place} does not exist: expected a run's folder, a bundle, or a folder of runs.")
        for path in _below(place):
            if (real := path.resolve()) not in seen:
                seen.add(real)
                yield path


def _below(place: Path) -> list[Path]:
    if place.is_file() or (place / store.RECORDS).is_file() or (place / store.PLAN).is_file():
        return [place]
    folders = {file.parent for name in (store.RECORDS, store.PLAN) for file in place.rglob(name)}
    return sorted(folders | set(place.rglob(f"*{bundle.SUFFIX}")))
