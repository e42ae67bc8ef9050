"""A board as data: JSON and Parquet for others, and the compact form that its own page reads.

A page that is opened from a disk may load no data but by script tags. So the page's rows are scripts: columns whose
texts stand once, as JSON, compressed, in base64, cut into a few pieces (100,000 rows are some 4 MB).
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from optibench.leaderboard.rows import Board, Entry, Row, json_schema
from optibench.strict_json import strict_json

PIECES = 4
SHARD_DIGITS = 2
"""Records lie in files by the first digits of their submission's id: 256 at most, however large the board."""
TEXTS = ("task", "model", "hardware", "backend", "precision", "verified_by", "submission", "metric", "created")
NUMBERS = (
    *("batch", "length", "p50_seconds", "p99_seconds", "speedup", "speedup_low", "speedup_high", "kept"),
    *("artifact_bytes", "peak_memory_bytes", "submissions"),
)

Shown = Callable[[str], str]


def board_json(board: Board) -> bytes:
    """board.json: a row a line, so that two boards can be laid side by side."""
    head = f'{{"schema": {board.schema}, "updated": {msgspec.json.encode(board.updated).decode()}, "rows": ['
    lines = ",\n".join(strict_json(row).decode() for row in board.rows)
    return f"{head}\n{lines}\n]}}\n".encode()


def board_schema() -> bytes:
    """The JSON Schema of board.json."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2) + b"\n"


def board_parquet(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file, a column for each field of Row."""
    import pyarrow as pa
    import pyarrow.parquet

    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "array": pa.list_(pa.string())}
    schema = pa.schema([(name, types[kind]) for name, kind in _kinds().items()])
    plain = [{field: getattr(row, field) for field in schema.names} for row in rows]
    buffer = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(plain, schema=schema), buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _kinds() -> dict[str, str]:
    """Each field's JSON type, by the schema: None aside."""
    properties = json_schema()["$defs"]["Row"]["properties"]
    found = {}
    for name, about in properties.items():
        kinds = [about, *about.get("anyOf", ())]
        kind = next((one["type"] for one in kinds if one.get("type", "null") != "null"), "string")
        found[name] = kind
    return found


def row_scripts(
    rows: Sequence[Row], shown: Shown, pages: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, bytes]]:
    """The page's scripts by file name. ``shown`` makes a stranger's text fit to print; ``pages`` says, for "model" and
    "hardware", which page tells of which text."""
    texts: dict[str, list[str]] = {}
    codes: dict[str, list[int]] = {}
    for name in TEXTS:
        values = [(getattr(row, name) or "")[: 10 if name == "created" else None] for row in rows]
        known = {value: number for number, value in enumerate(sorted(set(values)))}
        texts[name] = [shown(value) for value in known]
        codes[name] = [known[value] for value in values]
        if name in pages:
            texts[f"{name}_page"] = [pages[name][value] for value in known]
    numbers = {name: [_short(getattr(row, name)) for row in rows] for name in NUMBERS}
    numbers["place"] = [int(row.id.rpartition("-")[2]) for row in rows]
    numbers["official"] = [int(row.tier == "official") for row in rows]
    packed = _packed({"count": len(rows), "texts": texts, "codes": codes, "numbers": numbers})
    step = -(-len(packed) // PIECES)
    for number in range(PIECES):
        piece = packed[number * step : (number + 1) * step]
        yield f"data/rows-{number}.js", f'optibenchRows({number}, {PIECES}, "{piece}");\n'.encode()


def record_scripts(
    entries: Iterable[Entry], others: Mapping[str, Sequence[str]], show: Callable[[Entry], Any]
) -> Iterator[tuple[str, bytes]]:
    """The scripts that record.html reads, by file name. ``others`` are ids of further records of a record's case;
    ``show`` makes an entry's texts fit to print."""
    shards: dict[str, dict[str, Any]] = {}
    for entry in entries:
        shown = msgspec.to_builtins(show(entry))
        count = len(entry.comparison.cases)
        mine = {n: list(others[key]) for n in range(count) if (key := f"{entry.id}-{n}") in others}
        shards.setdefault(entry.id[:SHARD_DIGITS], {})[entry.id] = {**shown, "others": mine}
    for digits, found in sorted(shards.items()):
        yield f"data/records/{digits}.js", f'optibenchRecords("{_packed(found)}");\n'.encode()


def _short(value: float | None) -> float | int | None:
    """Four digits are more than a page shows."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _packed(value: Any) -> str:
    return base64.b64encode(gzip.compress(msgspec.json.encode(value), 9, mtime=0)).decode()
