"""Rows of data by role, from a local file, a package or a Hub data set.

A name is one of: a path to a .csv, .tsv, .jsonl, .json, .parquet or .txt file (one text a line);
``package:module/sub/file`` for a file inside an installed distribution; a Hub id,
``user/name[@revision][:config[:split]]``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optibench.errors import OptibenchError, first_line
from optibench.models import local_path
from optibench.values import DataRef

TEXT_SUFFIXES = (".txt", ".cor")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", *TEXT_SUFFIXES)
SPLITS = ("test", "validation", "train")

Row = dict[str, Any]


def rows(name: str, roles: Mapping[str, Sequence[str]], columns: Mapping[str, str]) -> list[Row]:
    """All rows of the data set ``name``, each a dict by role.

    ``roles`` maps a role to the column names it usually goes by (a role ending in ``?`` may be absent);
    ``columns`` is what the user said instead. Rows that lack a value are an error that names the row.
    """
    table = _read(name)
    if not table:
        raise OptibenchError(f"The data set {name} is empty. It needs at least one row with {_wanted(roles)}.")
    have = list(table[0])
    chosen = _chosen_columns(name, have, roles, columns)
    result = [{role: row.get(column) for role, column in chosen.items()} for row in table]
    for number, row in enumerate(result, 1):
        for role, value in row.items():
            if value is None or value == "":
                raise OptibenchError(
                    f"Row {number} of the data set {name} has no {role} (column {chosen[role]!r}). "
                    "Give every row a value, or leave the row out."
                )
    return result


def reference(name: str, used: Sequence[Row]) -> DataRef:
    """The data set's name and the digest of just the rows that were used. A local path is cut to its file name."""
    digest = hashlib.sha256()
    for row in used:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        digest.update(b"\n")
    path = local_path(name)
    shown = name if path is None or name.startswith("package:") else path.name
    return DataRef(id=shown, sha256=digest.hexdigest(), count=len(used))


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


def _read(name: str) -> list[Row]:
    path = local_path(name)
    if path is None:
        if name.startswith((".", "/", "~", "package:")) or name.lower().endswith(SUFFIXES):
            raise OptibenchError(f"There is no data file {name}. Give a path to a file, or a Hub data set's id.")
        return _hub_rows(name)
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise OptibenchError(f"{name} is not a data file that is known: expected one of {', '.join(SUFFIXES)}.")
    if path.stat().st_size == 0:
        return []
    try:
        return _file_rows(path)
    except UnicodeDecodeError as error:
        raise OptibenchError(
            f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8, for example with "
            f"iconv -f latin1 -t utf-8."
        ) from error
    except OSError as error:
        raise OptibenchError(f"{name} cannot be read: {error.strerror or error}.") from error
    except OptibenchError:
        raise
    except Exception as error:  # a parser's own complaint: pandas, pyarrow and json each have their kinds
        raise OptibenchError(f"{name} cannot be read as {path.suffix[1:]}: {first_line(error)}.") from error


def _file_rows(path: Path) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_table(path).to_pylist())
    text = path.read_text(encoding="utf-8-sig")
    if suffix in TEXT_SUFFIXES:
        return [{"text": line.strip()} for line in text.splitlines() if line.strip()]
    if suffix in (".jsonl", ".ndjson"):
        return _objects([json.loads(line) for line in text.splitlines() if line.strip()])
    if suffix == ".json":
        return _objects(json.loads(text))
    return _delimited_rows(text, "\t" if suffix == ".tsv" else None)


def _objects(value: Any) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise OptibenchError("Expected JSON objects: one a line (.jsonl), or a list of them (.json).")
    return value


def _delimited_rows(text: str, delimiter: str | None) -> list[Row]:
    """CSV or TSV. Leading lines that begin with # are comments; the last of them is the header if it has as many
    fields as the first row of data (as in WordSim-353's own file)."""
    import csv

    lines = text.splitlines(keepends=True)
    start = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    if delimiter is None:
        first = lines[start] if start < len(lines) else ""
        delimiter = max(",;\t", key=first.count)
    header = next(csv.reader([lines[start - 1].lstrip("# ")], delimiter=delimiter)) if start else []
    if header and start < len(lines):
        body = next(csv.reader(lines[start:], delimiter=delimiter), [])
        header = header if len(header) == len(body) else []
    reader = csv.DictReader(
        lines[start:], fieldnames=[h.strip() for h in header] or None, delimiter=delimiter, strict=True
    )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise OptibenchError(
                f"Line {start + reader.line_num} has another number of fields than the header "
                f"({len(reader.fieldnames or ())}). Quote fields that hold a delimiter."
            )
        rows.append(dict(row))
    return rows


def _hub_rows(name: str) -> list[Row]:
    head, *rest = name.split(":")
    repo, _, revision = head.partition("@")
    config = rest[0] if rest and rest[0] else None
    split = rest[1] if len(rest) > 1 else None
    try:
        import datasets
    except ImportError as error:
        raise OptibenchError(
            f"Reading the Hub data set {name} needs the package datasets: pip install 'optibench[datasets]'"
        ) from error
    datasets.disable_progress_bars()
    try:
        options = {"revision": revision} if revision else {}
        if split is None:
            found = datasets.get_dataset_split_names(repo, config, **options)
            split = next((s for s in SPLITS if s in found), found[0])
        return [dict(row) for row in datasets.load_dataset(repo, config, split=split, **options)]
    except Exception as error:  # datasets raises its own, huggingface_hub's, httpx's and ValueError alike
        raise OptibenchError(
            f"The Hub data set {name} cannot be read: {first_line(error)}. Check its id, config and split "
            "(user/name:config:split), the network and HF_TOKEN; a local .csv, .jsonl or .parquet file works without."
        ) from error


CALIBRATION_ROWS = 96
"""As many held-out rows calibrate at most. More did not better the scores of the models that were tried."""
MIN_HELD_OUT = 32


def split(all_rows: Sequence[Row], limit: int | None, seed: int) -> tuple[list[Row], list[Row]]:
    """Evaluation and calibration rows of one data set, drawn by ``seed``; no text stands in both.

    A quarter of the rows, at most CALIBRATION_ROWS, is held out; of a data set too small to spare MIN_HELD_OUT rows
    nothing is, and calibration falls back on default_texts. ``limit`` cuts the evaluation rows.
    """
    import random

    order = list(range(len(all_rows)))
    random.Random(seed).shuffle(order)  # noqa: S311 (a split, no secret)
    held = min(CALIBRATION_ROWS, len(order) // 4)
    held = held if held >= MIN_HELD_OUT else 0
    evaluation = [all_rows[i] for i in sorted(order[held:])][:limit]
    seen = {value for row in evaluation for value in _texts(row)}
    calibration = [all_rows[i] for i in sorted(order[:held]) if not seen & set(_texts(all_rows[i]))]
    return evaluation, calibration


def _texts(row: Row) -> list[str]:
    return [str(value) for role, value in row.items() if role != "label"]


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
