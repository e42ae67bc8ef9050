"""A submission: a run as one file that is fit for a pull request, and what is read from one.

It is a bundle (bundle.py) of just the records and the comparison, without folders, names and secrets, and without the
plan and the logs, which are full of them. It is called by what it holds, so the same run always gives the same file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from optibench import bundle, runs, store
from optibench.comparison import comparison_from_records
from optibench.errors import OptibenchError
from optibench.leaderboard.private import cleaner
from optibench.results import COMPARISON_SCHEMA, Comparison
from optibench.strict_json import sealed_json, value_from_json
from optibench.value import with_text
from optibench.values import Record

SUFFIX = bundle.SUFFIX
ID_DIGITS = 16


@dataclass(frozen=True)
class Submission:
    """What one file or run says. ``id`` is of its records' bytes; ``claimed`` is the comparison that it came with."""

    place: str
    id: str
    records: tuple[Record, ...]
    claimed: Comparison


@dataclass(frozen=True)
class Packed:
    """A run made ready: the file's name, its bytes, and what is in it."""

    name: str
    data: bytes
    submission: Submission


def pack(path: Path) -> Packed:
    """The run in a folder or a bundle as a submission.

    Errors: no run is there, its records are damaged, it was not finished.
    """
    kept = runs.open_kept(path)
    records, warnings = kept.records()
    comparison = kept.comparison()
    if comparison is None:
        raise OptibenchError(
            f"{path} was not finished: it has no {store.COMPARISON}. Go on with it by optibench compare --resume, "
            "then submit it."
        )
    if warnings:
        raise OptibenchError(f"{path} cannot be submitted as it is. {' '.join(warnings)}")
    clean = cleaner(records)
    shown = [with_text(record, clean) for record in records]
    told = [clean(text) for text in comparison.warnings]
    made = comparison_from_records(shown, command=clean(comparison.command), created=comparison.created)
    # What happened while it was measured stands in no record: it is taken over.
    made = msgspec.structs.replace(made, warnings=tuple(dict.fromkeys([*told, *made.warnings])))
    files = {
        store.RECORDS: b"".join(sealed_json(record) + b"\n" for record in shown),
        store.COMPARISON: store.json_text(made).encode(),
    }
    number = _id(files)
    name = f"{_slug(made.model.id)}-{_slug(made.host.cpu_model)}-{made.created[:10]}-{number[:8]}"
    _, data = bundle.packed(name, files)
    submission = Submission(place=str(path), id=number, records=tuple(shown), claimed=made)
    return Packed(name=f"{name}{bundle.SUFFIX}", data=data, submission=submission)


def read(path: Path) -> Submission:
    """A submission's file. Errors: it is damaged, edited, of another schema, or holds what none holds."""
    _, files = bundle.read(path)
    if store.PLAN in files or any(bundle.LOG.fullmatch(name) for name in files):
        raise OptibenchError(
            f"{path} is the bundle of a whole run, with its plan and logs, and no submission. "
            f"Make one of it: optibench leaderboard submit {path}"
        )
    if store.COMPARISON not in files:
        raise OptibenchError(f"{path} holds no {store.COMPARISON}, so it claims nothing that could be checked.")
    where = f"{store.RECORDS} in {path}"
    records, warnings = store.records_from_bytes(files[store.RECORDS], where)
    if warnings:
        raise OptibenchError(f"{path} is not whole. {' '.join(warnings)}")
    if not records:
        raise OptibenchError(f"{path} has no records: nothing was measured.")
    claimed = value_from_json(files[store.COMPARISON], Comparison, COMPARISON_SCHEMA, f"{store.COMPARISON} in {path}")
    return Submission(place=str(path), id=_id(files), records=tuple(records), claimed=claimed)


def of_path(path: Path) -> Submission:
    """What ``path`` is or would be as a submission: a submission's file, else a run's folder or bundle."""
    if path.is_file() and store.PLAN not in bundle.read(path)[1]:
        return read(path)
    return pack(path).submission


def bytes_of(path: Path) -> bytes:
    """The submission's file, of a submission or of a run as the one that it would be."""
    if path.is_file() and store.PLAN not in bundle.read(path)[1]:
        return path.read_bytes()
    return pack(path).data


def _id(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(files[store.RECORDS]).hexdigest()[:ID_DIGITS]


def _slug(text: str, longest: int = 40) -> str:
    """A part of a file's name: lower case, no marks."""
    without = re.sub(r"\((?:R|TM|C)\)|\bCPU\b|\bProcessor\b|@.*$", " ", text, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", without.lower()).strip("-")[:longest].strip("-") or "unnamed"


def series_digests(records: Sequence[Record]) -> frozenset[str]:
    """One digest for the raw times of each process at each shape: two runs that share one were not both measured."""
    return frozenset(
        hashlib.sha256(repr([burst.wall_ns for burst in series.bursts]).encode()).hexdigest()[:16]
        for record in records
        if record.measurement
        for series in record.measurement.series
    )
