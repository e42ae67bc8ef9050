"""Rows of data by role, from a local file, a package or a Hub data set. They are kept on disk, not in memory.

A name is one of: a path to a .csv, .tsv, .jsonl, .json, .parquet or .txt file (one text a line);
``package:module/sub/file`` for a file inside an installed distribution; a folder whose subfolders are labels and hold
pictures or sounds; a Hub id, ``user/name[@revision][:config[:split]]``. Media are found from the file that names them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from optibench import data_files, media
from optibench.errors import OptibenchError
from optibench.models import local_path
from optibench.spool import Picked, Spool
from optibench.values import DataRef

LABELS = ("label", "tags", "answers", "transcript", "target", "summary", "mask", "objects")
"""Roles that say what is right; the others are what a model is given."""

Row = data_files.Row


def rows(
    name: str, roles: Mapping[str, Sequence[str]], columns: Mapping[str, str], whole: Collection[str] = ()
) -> Sequence[Row]:
    """All rows of the data set ``name``, each a dict by role.

    ``roles`` maps a role to the column names it usually goes by (a role ending in ``?`` may be absent);
    ``columns`` is what the user said instead; ``whole`` are roles whose values may be lists or objects. Pictures and
    sounds become Media. Rows that lack a value are an error that names the row.
    """
    table = data_files.read(name)
    if not table:
        raise OptibenchError(f"The data set {name} is empty. It needs at least one row with {_wanted(roles)}.")
    have = list(dict.fromkeys(column for row in table for column in _columns(row)))
    chosen = _chosen_columns(name, have, roles, columns)
    return Spool(_checked(name, table, chosen, whole))


def _columns(row: Row) -> Iterator[str]:
    """The row's columns; an object's parts are columns too: translation.en of ``{"translation": {"en": ...}}``."""
    for column, value in row.items():
        yield column
        if isinstance(value, dict):
            yield from (f"{column}.{part}" for part in value)


def _value(row: Row, column: str) -> Any:
    outer, _, part = column.rpartition(".")
    if column not in row and isinstance(inside := row.get(outer), dict):
        return inside.get(part)
    return row.get(column)


def _checked(name: str, table: Iterable[Row], chosen: Mapping[str, str], whole: Collection[str]) -> Iterator[Row]:
    path = local_path(name)
    home = path if path is None or path.is_dir() else path.parent
    for number, found in enumerate(table, 1):
        row = {role: _value(found, column) for role, column in chosen.items()}
        for role, value in row.items():
            if role in media.ROLES and not _is_nothing(value):
                row[role] = media.media_of(value, role, number, home)
                continue
            if _is_nothing(value):
                raise OptibenchError(
                    f"Row {number} of the data set {name} has no {role} (column {chosen[role]!r}). "
                    "Give every row a value, or leave the row out."
                )
            if isinstance(value, bytes):  # Parquet's texts where the writer did not say that they are (Spark's, say)
                row[role] = value = value.decode(errors="surrogateescape")
            if isinstance(value, str) and not _is_unicode(value):
                raise OptibenchError(
                    f"Row {number} of the data set {name} holds half a character as {role} (column {chosen[role]!r}): "
                    "a surrogate without its other half, which no tokenizer takes. Mend or leave out the row."
                )
            if isinstance(value, dict | list) and role not in whole:
                parts = ", ".join(f"{chosen[role]}.{part}" for part in value) if isinstance(value, dict) else ""
                raise OptibenchError(
                    f"Row {number} of the data set {name} holds a {type(value).__name__} as {role} (column "
                    f"{chosen[role]!r}), where one text or number is expected. Say which column with --columns "
                    f"{role}=NAME{f' (it has {parts})' if parts else ''}, or make one value of it."
                )
        yield row


def _is_nothing(value: Any) -> bool:
    """Null, blank text, or the NaN that data frames write where a value is missing."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def reference(name: str, used: Sequence[Row]) -> DataRef:
    """The data set's name and the digest of just the rows that were used. A local path is cut to its file name."""
    digest = hashlib.sha256()
    for row in used:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        digest.update(b"\n")
    path = local_path(name)
    shown = name if path is None or name.startswith("package:") else path.name
    return DataRef(id=shown, sha256=digest.hexdigest(), count=len(used), rows=fingerprints(used))


FINGERPRINT_BYTES = 5
MOST_FINGERPRINTS = 512


def fingerprints(used: Sequence[Row]) -> str:
    """A few bytes of a digest of what a model is given of each row, in order, in base64. Of more rows than
    MOST_FINGERPRINTS the least ones stand for all (a bottom-k sketch: Broder, "On the resemblance and containment of
    documents", 1997): a set that shares many rows with another shares some of these."""
    least: set[bytes] = set()
    for row in used:
        least.add(hashlib.sha256(json.dumps(given(row)).encode()).digest()[:FINGERPRINT_BYTES])
        if len(least) > 2 * MOST_FINGERPRINTS:
            least = set(sorted(least)[:MOST_FINGERPRINTS])
    return base64.b64encode(b"".join(sorted(least)[:MOST_FINGERPRINTS])).decode()


def shared_rows(one: DataRef, other: DataRef) -> int:
    """How many fingerprints two sets share; 0 too where one of them tells none."""
    found = []
    for ref in (one, other):
        try:
            packed = base64.b64decode(ref.rows, validate=True)
        except ValueError:
            return 0
        found.append({packed[i : i + FINGERPRINT_BYTES] for i in range(0, len(packed), FINGERPRINT_BYTES)})
    return len(found[0] & found[1])


def _wanted(roles: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(role.rstrip("?") + (" (optional)" if role.endswith("?") else "") for role in roles)


def _chosen_columns(
    name: str, have: list[str], roles: Mapping[str, Sequence[str]], columns: Mapping[str, str]
) -> dict[str, str]:
    """Role -> column: what the user said, else the usual names, whatever their case."""
    known = {role.rstrip("?") for role in roles}
    for role, column in columns.items():
        if role not in known:
            raise OptibenchError(f"--columns names the role {role!r}; this task's roles are {_wanted(roles)}.")
        if column not in have:
            raise OptibenchError(
                f"The data set {name} has no column {column!r} (for {role}). Its columns are: {', '.join(have)}."
            )
    lower = {column.lower(): column for column in reversed(have)}
    chosen: dict[str, str] = {}
    for role, usual in roles.items():
        bare = role.rstrip("?")
        named = columns.get(bare) or next((lower[u] for u in usual if u in lower), None)
        if named:
            chosen[bare] = named
        elif not role.endswith("?"):
            raise OptibenchError(
                f"The data set {name} has no column for {bare} (looked for {', '.join(usual)}). "
                f"Its columns are: {', '.join(have)}. Say which with --columns {bare}=NAME."
            )
    return chosen


CALIBRATION_ROWS = 96
"""As many held-out rows calibrate at most. More did not better the scores of the models that were tried."""
MIN_HELD_OUT = 32
ROWS_AT_ONCE = 8192
"""So many rows are looked at together where rows of one data set are looked for in another."""


def split(
    all_rows: Sequence[Row], limit: int | None, seed: int, group: str | None = None
) -> tuple[Sequence[Row], list[Row]]:
    """Evaluation and calibration rows of one data set, drawn by ``seed``; nothing that a model is given stands in both.

    A quarter of the rows, at most CALIBRATION_ROWS, is held out; of a data set too small to spare MIN_HELD_OUT rows
    nothing is, and calibration falls back on default_texts. ``limit`` cuts the evaluation rows. Rows with the same
    value of the role ``group`` (a query's documents) stay together.
    """
    import random

    groups = _groups(all_rows, group) if group else None

    def members(number: int) -> Sequence[int]:
        return groups[number] if groups else (number,)

    order = list(range(len(groups) if groups else len(all_rows)))
    random.Random(seed).shuffle(order)  # noqa: S311 (a split, no secret)
    held = min(CALIBRATION_ROWS, len(all_rows) // 4)
    held = held if held >= MIN_HELD_OUT else 0
    first = total = 0
    while first + 1 < len(order) and total < held:
        total += len(members(order[first]))
        first += 1
    judging = sorted(order[first:])
    if limit is not None:
        sizes = (len(members(number)) for number in judging)
        judging = judging[: max(1, sum(total <= limit for total in accumulate(sizes)))]
    evaluation = Picked(all_rows, array("Q", (place for number in judging for place in members(number))))
    held_out = sorted(place for number in order[:first] for place in members(number))
    return evaluation, unseen(Picked(all_rows, held_out), evaluation, len(held_out))


def _groups(all_rows: Iterable[Row], group: str) -> list[Sequence[int]]:
    """The places of the rows that stay together."""
    found: dict[Any, array[int]] = {}
    for place, row in enumerate(all_rows):
        found.setdefault(row[group], array("Q")).append(place)
    return list(found.values())


def unseen(candidates: Sequence[Row], judging: Iterable[Row], most: int) -> list[Row]:
    """The first ``most`` candidates of which nothing that a model is given stands in a row of ``judging``."""
    found: list[Row] = []
    for start in range(0, len(candidates), ROWS_AT_ONCE):
        some = list(candidates[start : start + ROWS_AT_ONCE])
        wanted = {value for row in some for value in given(row)}
        seen = {value for row in judging for value in given(row) if value in wanted}
        found += [row for row in some if not seen & set(given(row))]
        if len(found) >= most:
            break
    return found[:most]


def given(row: Row) -> list[str]:
    """What a model is given of the row, as text."""
    return [str(value) for role, value in row.items() if role not in LABELS]


def words_of(row: Row) -> list[str]:
    """All words of a row's texts."""
    values = [value for role, value in row.items() if role not in LABELS]
    return [word for value in values if isinstance(value, str | list) for word in _joined(value).split()]


def _joined(value: str | list[Any]) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value))


def default_texts(count: int) -> list[str]:
    """Real English prose that every Python has: paragraphs of its language reference (pydoc_data.topics).

    Used to calibrate, to time and to compare outputs where the user gave no data. It has no labels.
    """
    from pydoc_data import topics

    found: list[str] = []
    for _, text in sorted(topics.topics.items()):
        for paragraph in text.split("\n\n"):
            words = paragraph.split()
            if 25 <= len(words) <= 120 and paragraph[:1].isalpha():
                found.append(" ".join(words).replace("*", "").replace("“", '"').replace("”", '"'))
    found = list(dict.fromkeys(found))  # topics quote each other, and no text may both judge and calibrate
    step = max(1, len(found) // count)
    return found[::step][:count]


DEFAULT_TEXTS_ID = "python-reference (pydoc_data.topics)"
