"""Files of data and Hub data sets, a row at a time: .csv, .tsv, .jsonl, .json, .parquet, .txt, folders of media."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from optibench import boxes, hub, media
from optibench.errors import OptibenchError, first_line
from optibench.models import local_path
from optibench.spool import Spool

TEXT_SUFFIXES = (".txt", ".cor")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", *TEXT_SUFFIXES)
METADATA = ("metadata.csv", "metadata.jsonl")
"""Tables that name the media beside them, by the Hub's custom."""
SPLITS = ("test", "validation", "train")
ROWS_A_READ = 1024
JSON_READ = 65_536
"""Characters of a .json file that are read at once, and twice as many each time that a value does not end in them."""

Row = dict[str, Any]


def read(name: str) -> Sequence[Row]:
    """The rows of that name (data.py), each a dict by column. Raises OptibenchError for whatever cannot be read."""
    path = local_path(name)
    if path is None:
        if name.startswith((".", "/", "~", "package:")) or name.lower().endswith(SUFFIXES):
            raise OptibenchError(f"There is no data file {name}. Give a path to a file, or a Hub data set's id.")
        return Spool(_hub_rows(name))
    if path.is_dir():
        if table := next((path / told for told in METADATA if (path / told).is_file()), None):
            return read(str(table))
        if found := media.rows_of_folder(path):
            return found
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        hint = " Unpack it first." if path.suffix.lower() in (".gz", ".zip", ".bz2", ".xz", ".zst", ".tar") else ""
        if deeper := next((inner for inner in sorted(path.glob("*")) if media.rows_of_folder(inner)), None):
            hint = f" Folders like that lie one level down: give one of them, such as {Path(name) / deeper.name}."
        raise OptibenchError(
            f"{name} is not a data file that is known: expected one of {', '.join(SUFFIXES)}, or a folder with a "
            f"subfolder of pictures or sounds for each label.{hint}"
        )
    if path.stat().st_size == 0:
        return []
    try:
        return Spool(_file_rows(path))
    except UnicodeDecodeError as error:
        raise OptibenchError(f"{name} is not UTF-8 text (byte {_first_bad_byte(path)}): {_what_to_do(path)}") from error
    except OSError as error:
        raise OptibenchError(f"{name} cannot be read: {error.strerror or error}.") from error
    except OptibenchError:
        raise
    except Exception as error:  # a parser's own complaint: pandas, pyarrow and json each have their kinds
        raise OptibenchError(f"{name} cannot be read as {path.suffix[1:]}: {first_line(error)}.") from error


BEGINNINGS = (
    # How a file begins that is no UTF-8 text, and what to do with it.
    (b"\x1f\x8b", "it is packed with gzip. Unpack it first, with gunzip."),
    (b"PK\x03\x04", "it is a zip archive or a spreadsheet (.xlsx). Unpack it, or save the sheet as .csv."),
    (b"\xff\xfe", "it is UTF-16. Save it as UTF-8, for example with iconv -f utf-16 -t utf-8."),
    (b"\xfe\xff", "it is UTF-16. Save it as UTF-8, for example with iconv -f utf-16 -t utf-8."),
    (b"", "save it as UTF-8, for example with iconv -f latin1 -t utf-8."),
)


def _what_to_do(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(4)
    return next(told for beginning, told in BEGINNINGS if begin.startswith(beginning))


def _first_bad_byte(path: Path) -> int:
    """Where the file stops being UTF-8."""
    place = 0
    with path.open("rb") as file:
        for line in file:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return place + error.start
            place += len(line)
    return place


def _file_rows(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
    elif suffix == ".json":
        yield from _json_rows(path)
    elif suffix in TEXT_SUFFIXES:
        yield from ({"text": line.strip()} for line in _lines(path) if line.strip())
    elif suffix in (".jsonl", ".ndjson"):
        yield from _objects(_values_by_line(path))
    else:
        yield from _delimited_rows(path, "\t" if suffix == ".tsv" else None)


def _values_by_line(path: Path) -> Iterator[Any]:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                what = error.msg.removesuffix(" at")
                raise OptibenchError(
                    f"Line {number} of {path.name} is no JSON: {what} at its character {error.colno}. "
                    "Each line holds one object, whole."
                ) from error
            yield value


def _lines(path: Path) -> Iterator[str]:
    """The file's lines. A text may hold rarer separators, at which splitlines() would cut it; this does not."""
    with path.open(encoding="utf-8-sig") as file:
        yield from file


def _json_rows(path: Path) -> Iterator[Row]:
    """An array's objects, read one after the other; what one object makes, such as COCO's, which is read whole; or an
    object a line, as many Hub data sets have them under this name too."""
    with path.open(encoding="utf-8-sig") as file:
        array = file.read(JSON_READ).lstrip().startswith("[")
    if not array:
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
            value = _values_by_line(path)
        yield from boxes.rows_of_coco(value) if boxes.is_coco(value) else _objects(value)
        return
    try:
        yield from _objects(_array_values(path))
    except json.JSONDecodeError:
        json.loads(path.read_text(encoding="utf-8-sig"))  # says where in the whole file
        raise


def _array_values(path: Path) -> Iterator[Any]:
    """The values of a JSON array, each by Python's own parser as soon as enough of the file is read for it."""
    decode, space = json.JSONDecoder().raw_decode, re.compile(r"[ \t\n\r]*")

    def after_space(text: str, place: int) -> int:
        found = space.match(text, place)
        return found.end() if found else place

    with path.open(encoding="utf-8-sig") as file:
        text, place, size, first = file.read(JSON_READ).lstrip()[1:], 0, JSON_READ, True
        while not text.startswith("]", place := after_space(text, place)):
            try:
                at = place
                if not first:
                    if text[at : at + 1] != ",":
                        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
                    at = after_space(text, at + 1)
                value, end = decode(text, at)
                if end == len(text):
                    raise json.JSONDecodeError("Expecting ',' delimiter", text, end)
            except json.JSONDecodeError:
                more = file.read(size)
                if not more:
                    raise
                text, place, size = text[place:] + more, 0, 2 * size  # so that a long value is not tried often
                continue
            yield value
            place, size, first = end, JSON_READ, False
        if (text[place + 1 :] + file.read()).strip():
            raise json.JSONDecodeError("Extra data", text, place + 1)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names = _names_from_metadata(file.schema_arrow.metadata or {})
        for batch in file.iter_batches(ROWS_A_READ):
            yield from _with_names(batch.to_pylist(), names)


class NamedLabel(int):
    """A label given as a number whose name the data set knows (a ClassLabel of Hub data): a model may order the same
    names differently, so the name is what counts where the model has it."""

    name: str


def _with_names(table: Iterable[Row], names: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """The rows with the labels of those columns that have ``names`` as NamedLabel (-1, no label, stays as it is)."""
    for row in table:
        _name_labels(row, names)
        yield row


def _name_labels(row: Row, names: Mapping[str, Sequence[str]]) -> None:
    for column, known in names.items():
        outer, _, inner = column.partition(".")
        if inner:  # a list of objects, or an object of lists
            inside = row.get(outer)
            for one in inside if isinstance(inside, list) else [inside]:
                if isinstance(one, dict):
                    _name_labels(one, {inner: known})
            continue
        value = row.get(column)
        if isinstance(value, list):
            row[column] = [_named(one, known) for one in value]
        else:
            row[column] = _named(value, known)


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


def _objects(values: Any) -> Iterator[Row]:
    for row in values if isinstance(values, list | Iterator) else [values]:
        if not isinstance(row, dict) or row is values:
            found = f"one object with {', '.join(map(str, list(row)[:8]))}" if row is values else type(row).__name__
            found = type(row).__name__ if not isinstance(row, dict) else found
            raise OptibenchError(
                f"Expected JSON objects: one a line (.jsonl), or a list of them (.json). Found: {found}."
            )
        yield row


def _delimited_rows(path: Path, delimiter: str | None) -> Iterator[Row]:
    """CSV or TSV. Leading lines that are blank or begin with # are comments; the last of them is the header if it has
    as many fields as the first row of data (as in WordSim-353's own file)."""
    import csv

    csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size))  # a long text is cut by the tokenizer
    lines = _lines(path)
    start, comment, first = 0, "", ""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            first = line
            break
        start, comment = start + 1, line
    if not first:
        return
    delimiter = delimiter or max(",;\t|", key=first.count)
    header = next(csv.reader([comment.lstrip("# ")], delimiter=delimiter), []) if start else []
    if header:
        body = next(csv.reader(chain([first], lines), delimiter=delimiter), [])
        header = header if len(header) == len(body) else []
    quotes = True
    if delimiter == "\t":  # in many .tsv files a quotation mark is a character like any other
        try:
            for _ in _fields(path, start, header, delimiter):
                pass
        except csv.Error:
            quotes = False
    try:
        yield from _fields(path, start, header, delimiter, quotes)
    except csv.Error as error:
        raise OptibenchError(f"{error}. Quote fields with quotation marks, and double the marks inside.") from error


def _fields(path: Path, start: int, header: list[str], delimiter: str, quotes: bool = True) -> Iterator[Row]:
    """The rows from the line ``start`` on, by the names of ``header``, or of the first row where that is empty."""
    import csv

    reader = csv.reader(
        islice(_lines(path), start, None),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
    )
    try:
        names = [name.strip() for name in header or next(reader, [])]
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise OptibenchError(f"The header names the column {twice[0]!r} twice. Rename one of them.")
        for fields in filter(None, reader):  # a blank line is no row
            if len(fields) != len(names):
                plural = "" if len(fields) == 1 else "s"
                raise OptibenchError(
                    f"Line {start + reader.line_num} has {len(fields)} field{plural}, the header {len(names)}. "
                    "Quote fields that hold a delimiter."
                )
            yield dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise csv.Error(f"Line {start + reader.line_num}: {error}") from error


def _hub_rows(name: str) -> Iterator[Row]:
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
        yield from _with_names(map(dict, loaded), _class_names(loaded.features.to_dict()))
    except Exception as error:  # datasets raises its own, huggingface_hub's, httpx's and ValueError alike
        raise OptibenchError(
            f"The Hub data set {name} cannot be read: {first_line(error)}. Check its id, config and split "
            "(user/name:config:split), the network and HF_TOKEN; a local .csv, .jsonl or .parquet file works without."
        ) from error
