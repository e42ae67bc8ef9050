"""Rows of data by role, from a local file, a package or a Hub data set.

A name is one of: a path to a .csv, .tsv, .jsonl, .json, .parquet or .txt file (one text a line);
``package:module/sub/file`` for a file inside an installed distribution; a folder whose subfolders are labels and hold
pictures or sounds; a Hub id, ``user/name[@revision][:config[:split]]``. Media are found from the file that names them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from optibench import boxes, hub, media
from optibench.errors import OptibenchError, first_line
from optibench.models import local_path
from optibench.values import DataRef

TEXT_SUFFIXES = (".txt", ".cor")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", *TEXT_SUFFIXES)
SPLITS = ("test", "validation", "train")
LABELS = ("label", "tags", "answers", "transcript", "target", "summary", "mask", "objects")
"""Roles that say what is right; the others are what a model is given."""

Row = dict[str, Any]


def rows(
    name: str, roles: Mapping[str, Sequence[str]], columns: Mapping[str, str], whole: Collection[str] = ()
) -> list[Row]:
    """All rows of the data set ``name``, each a dict by role.

    ``roles`` maps a role to the column names it usually goes by (a role ending in ``?`` may be absent);
    ``columns`` is what the user said instead; ``whole`` are roles whose values may be lists or objects. Pictures and
    sounds become Media. Rows that lack a value are an error that names the row.
    """
    table = _read(name)
    if not table:
        raise OptibenchError(f"The data set {name} is empty. It needs at least one row with {_wanted(roles)}.")
    have = list(dict.fromkeys(column for row in table for column in row))
    chosen = _chosen_columns(name, have, roles, columns)
    result = [{role: row.get(column) for role, column in chosen.items()} for row in table]
    path = local_path(name)
    home = path if path is None or path.is_dir() else path.parent
    for number, row in enumerate(result, 1):
        for role, value in row.items():
            if role in media.ROLES and not _is_nothing(value):
                row[role] = media.media_of(value, role, number, home)
                continue
            if _is_nothing(value):
                raise OptibenchError(
                    f"Row {number} of the data set {name} has no {role} (column {chosen[role]!r}). "
                    "Give every row a value, or leave the row out."
                )
            if isinstance(value, str) and not _is_unicode(value):
                raise OptibenchError(
                    f"Row {number} of the data set {name} holds half a character as {role} (column {chosen[role]!r}): "
                    "a surrogate without its other half, which no tokenizer takes. Mend or leave out the row."
                )
            if isinstance(value, dict | list) and role not in whole:
                raise OptibenchError(
                    f"Row {number} of the data set {name} holds a {type(value).__name__} as {role} (column "
                    f"{chosen[role]!r}), where one text or number is expected. Say which column with --columns "
                    f"{role}=NAME, or make one value of it."
                )
    return result


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
    digests = {hashlib.sha256(json.dumps(_given(row)).encode()).digest()[:FINGERPRINT_BYTES] for row in used}
    return base64.b64encode(b"".join(sorted(digests)[:MOST_FINGERPRINTS])).decode()


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


def _read(name: str) -> list[Row]:
    path = local_path(name)
    if path is None:
        if name.startswith((".", "/", "~", "package:")) or name.lower().endswith(SUFFIXES):
            raise OptibenchError(f"There is no data file {name}. Give a path to a file, or a Hub data set's id.")
        return _hub_rows(name)
    if path.is_dir() and (found := media.rows_of_folder(path)):
        return found
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise OptibenchError(
            f"{name} is not a data file that is known: expected one of {', '.join(SUFFIXES)}, or a folder with a "
            "subfolder of pictures or sounds for each label."
        )
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

        table = pyarrow.parquet.read_table(path)
        return _with_names(table.to_pylist(), _names_from_metadata(table.schema.metadata or {}))
    text = path.read_text(encoding="utf-8-sig")
    lines = text.split("\n")  # not splitlines(), which also cuts a text at the rarer separators that it may hold
    if suffix in TEXT_SUFFIXES:
        return [{"text": line.strip()} for line in lines if line.strip()]
    if suffix in (".jsonl", ".ndjson"):
        return _objects([json.loads(line) for line in lines if line.strip()])
    if suffix == ".json":
        value = json.loads(text)
        return boxes.rows_of_coco(value) if boxes.is_coco(value) else _objects(value)
    return _delimited_rows(lines, "\t" if suffix == ".tsv" else None)


class NamedLabel(int):
    """A label given as a number whose name the data set knows (a ClassLabel of Hub data): a model may order the same
    names differently, so the name is what counts where the model has it."""

    name: str


def _with_names(table: list[Row], names: Mapping[str, Sequence[str]]) -> list[Row]:
    """The rows with the labels of those columns that have ``names`` as NamedLabel (-1, no label, stays as it is)."""
    for row in table:
        for column, known in names.items():
            outer, _, inner = column.partition(".")
            if inner:  # a list of objects, or an object of lists
                inside = row.get(outer)
                for one in inside if isinstance(inside, list) else [inside]:
                    if isinstance(one, dict):
                        _with_names([one], {inner: known})
                continue
            value = row.get(column)
            if isinstance(value, list):
                row[column] = [_named(one, known) for one in value]
            else:
                row[column] = _named(value, known)
    return table


def _named(value: Any, known: Sequence[str]) -> Any:
    if not isinstance(value, int) or not 0 <= value < len(known):
        return value
    label = NamedLabel(value)
    label.name = known[value]
    return label


def _names_from_metadata(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """The names of class labels that the Hub's Parquet files carry in their schema; {} where there are none."""
    try:
        return _class_names(json.loads(metadata[b"huggingface"])["info"]["features"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _class_names(features: Mapping[str, Any], before: str = "") -> dict[str, list[str]]:
    """Column (of objects: column.key) -> names, of those features that are class labels, as ``datasets`` writes them.
    A list of labels (a tag for each token) has the names one level down."""
    found: dict[str, list[str]] = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else {}
        if inner.get("_type") == "ClassLabel":
            found[before + column] = inner["names"]
        elif "_type" not in inner and not before:
            found |= _class_names(inner, f"{column}.")
    return found


def _objects(value: Any) -> list[Row]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise OptibenchError("Expected JSON objects: one a line (.jsonl), or a list of them (.json).")
    return value


def _delimited_rows(lines: list[str], delimiter: str | None) -> list[Row]:
    """CSV or TSV. Leading lines that are blank or begin with # are comments; the last of them is the header if it has
    as many fields as the first row of data (as in WordSim-353's own file)."""
    import csv

    csv.field_size_limit(max(csv.field_size_limit(), sum(map(len, lines))))  # a long text is cut by the tokenizer
    start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    if delimiter is None:
        first = lines[start] if start < len(lines) else ""
        delimiter = max(",;\t", key=first.count)
    header = next(csv.reader([lines[start - 1].lstrip("# ")], delimiter=delimiter), []) if start else []
    if header and start < len(lines):
        body = next(csv.reader(lines[start:], delimiter=delimiter), [])
        header = header if len(header) == len(body) else []
    try:
        return _fields(lines, start, header, delimiter)
    except csv.Error as error:
        if delimiter == "\t":  # in many .tsv files a quotation mark is a character like any other
            return _fields(lines, start, header, delimiter, quotes=False)
        raise OptibenchError(f"{error}. Quote fields with quotation marks, and double the marks inside.") from error


def _fields(lines: list[str], start: int, header: list[str], delimiter: str, quotes: bool = True) -> list[Row]:
    """The rows from the line ``start`` on, by the names of ``header``, or of the first row where that is empty."""
    import csv

    reader = csv.reader(
        (line + "\n" for line in lines[start:]),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    table: list[Row] = []
    try:
        names = [name.strip() for name in header or next(reader, [])]
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise OptibenchError(f"The header names the column {twice[0]!r} twice. Rename one of them.")
        for fields in filter(None, reader):  # a blank line is no row
            if len(fields) != len(names):
                raise OptibenchError(
                    f"Line {start + reader.line_num} has {len(fields)} fields, the header {len(names)}. "
                    "Quote fields that hold a delimiter."
                )
            table.append(dict(zip(names, fields, strict=True)))
    except csv.Error as error:
        raise csv.Error(f"Line {start + reader.line_num}: {error}") from error
    return table


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
    hub.check_dataset(repo, revision or None)
    datasets.disable_progress_bars()
    try:
        options = {"revision": revision} if revision else {}
        if split is None:
            found = datasets.get_dataset_split_names(repo, config, **options)
            split = next((s for s in SPLITS if s in found), found[0])
        loaded = datasets.load_dataset(repo, config, split=split, **options)
        for column, feature in loaded.features.items():
            if isinstance(feature, datasets.Image | datasets.Audio):  # decoded here, as files' are
                loaded = loaded.cast_column(column, type(feature)(decode=False))
        return _with_names([dict(row) for row in loaded], _class_names(loaded.features.to_dict()))
    except Exception as error:  # datasets raises its own, huggingface_hub's, httpx's and ValueError alike
        raise OptibenchError(
            f"The Hub data set {name} cannot be read: {first_line(error)}. Check its id, config and split "
            "(user/name:config:split), the network and HF_TOKEN; a local .csv, .jsonl or .parquet file works without."
        ) from error


CALIBRATION_ROWS = 96
"""As many held-out rows calibrate at most. More did not better the scores of the models that were tried."""
MIN_HELD_OUT = 32


def split(
    all_rows: Sequence[Row], limit: int | None, seed: int, group: str | None = None
) -> tuple[list[Row], list[Row]]:
    """Evaluation and calibration rows of one data set, drawn by ``seed``; nothing that a model is given stands in both.

    A quarter of the rows, at most CALIBRATION_ROWS, is held out; of a data set too small to spare MIN_HELD_OUT rows
    nothing is, and calibration falls back on default_texts. ``limit`` cuts the evaluation rows. Rows with the same
    value of the role ``group`` (a query's documents) stay together.
    """
    import random

    groups: dict[Any, list[int]] = {}
    for number, row in enumerate(all_rows):
        groups.setdefault(row[group] if group else number, []).append(number)
    order = list(groups.values())
    random.Random(seed).shuffle(order)  # noqa: S311 (a split, no secret)
    held = min(CALIBRATION_ROWS, len(all_rows) // 4)
    held = held if held >= MIN_HELD_OUT else 0
    first = 0
    while first + 1 < len(order) and sum(map(len, order[:first])) < held:
        first += 1
    judging = sorted(order[first:])
    if limit is not None:
        judging = judging[: max(1, sum(total <= limit for total in accumulate(map(len, judging))))]
    evaluation = [all_rows[i] for members in judging for i in members]
    seen = {value for row in evaluation for value in _given(row)}
    held_out = sorted(i for members in order[:first] for i in members)
    return evaluation, [all_rows[i] for i in held_out if not seen & set(_given(all_rows[i]))]


def _given(row: Row) -> list[str]:
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
