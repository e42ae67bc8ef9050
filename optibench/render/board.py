"""A board as a static site: pages that work from a disk and under any path of a server, and the data beside them.

index.html        the first rows as plain HTML; board.js filters, sorts and ranks all of them
models/, hardware/  a plain page for each
record.html#ID    one page a record: record.js reads the record's own piece of the data
feed.xml  data/   what is new; the rows as JSON and Parquet
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optibench.leaderboard.rows import Board, Entry, Row, ranked
from optibench.recommend import TITLES
from optibench.render import board_data, feed
from optibench.render.page import page, script, shown
from optibench.render.units import NONE, bytes_text, counted, ratio_text, seconds_text
from optibench.results import Interval
from optibench.value import with_text

FIRST_ROWS = 50
LISTED = 500
"""Rows on the page of a model or a machine; the board shows the rest."""
TIERS = ("official", "quick")


@dataclass(frozen=True)
class Place:
    """A page of a model or of hardware, below the site's root."""

    kind: str
    name: str
    file: str


def site(
    board: Board, entries: Sequence[Entry], *, title: str, address: str | None = None, files: bool = True
) -> Iterator[tuple[str, bytes]]:
    """Every file of the site by its name. ``address`` is where it will lie, for the feed; ``files``: the submissions
    themselves lie in submissions/."""
    models = {row.model: _place("models", row.model) for row in board.rows}
    hardware = {row.hardware: _place("hardware", row.hardware) for row in board.rows}
    pages = {
        "model": {name: place.file for name, place in models.items()},
        "hardware": {name: place.file for name, place in hardware.items()},
    }
    tier = next((tier for tier in TIERS if any(row.tier == tier for row in board.rows)), TIERS[0])
    common = {"title": title, "updated": board.updated, "count": counted(len(board.rows), "row")}

    def told(template: str, root: str, scripts: Sequence[str], **values: Any) -> bytes:
        sources = "'self'" if scripts else ""
        return page(template, scripts=[*scripts], sources=sources, root=root, **common, **values).encode()

    cells = _cells(pages)
    yield (
        "index.html",
        told(
            "board.html",
            "",
            [script("unpack.js"), script("board.js")],
            tier=tier,
            pieces=board_data.PIECES,
            rows=[cells(rank, row, "") for rank, row in ranked(board.rows, tier)[:FIRST_ROWS]],
            submissions=counted(len(entries), "submission"),
        ),
    )
    yield "record.html", told("board_record.html", "", [script("unpack.js"), script("board_record.js")], files=files)
    for place, rows in [
        *_by_place(board.rows, models, lambda row: row.model),
        *_by_place(board.rows, hardware, lambda row: row.hardware),
    ]:
        about = {"kind": place.kind, "name": shown(place.name), **_about(rows)}
        yield place.file, told("board_list.html", "../", [], tiers=_tiers(rows, cells), **about)
    yield from board_data.row_scripts(board.rows, shown, pages)
    others = {row.id: row.others for row in board.rows if row.others}
    others |= {one: (row.id, *(o for o in row.others if o != one)) for row in board.rows for one in row.others}
    yield from board_data.record_scripts(entries, others, lambda entry: with_text(entry, shown))
    yield "data/board.json", board_data.board_json(board)
    yield "data/board.schema.json", board_data.board_schema()
    yield "data/board.parquet", board_data.board_parquet(board.rows)
    yield "feed.xml", feed.atom(entries, title=title, updated=board.updated, address=address)


def _place(folder: str, name: str) -> Place:
    """The page of a name: the same name has the same page on every board, and no two names share one."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "unnamed"
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return Place(folder, name, f"{folder}/{slug}-{digest}.html")


def _by_place(
    rows: Sequence[Row], places: Mapping[str, Place], name_of: Callable[[Row], str]
) -> Iterator[tuple[Place, list[Row]]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[name_of(row)].append(row)
    for name, mine in found.items():
        yield places[name], mine


def _tiers(rows: Sequence[Row], cells: Callable[[int | None, Row, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Official rows and quick ones, each ranked by themselves; a tier without rows is left out."""
    found = []
    for tier in TIERS:
        mine = ranked(rows, tier)
        if mine:
            listed = [cells(rank, row, "../") for rank, row in mine[:LISTED]]
            found.append({"name": tier, "rows": listed, "more": max(0, len(mine) - LISTED)})
    return found


def _about(rows: Sequence[Row]) -> dict[str, Any]:
    """What a page of one model or machine says at its top."""
    return {
        "rows_text": counted(len(rows), "row"),
        "tasks": sorted({row.task for row in rows}),
        "weights": sorted({row.weights_sha256 for row in rows}),
        "revisions": sorted({row.revision for row in rows}),
    }


def _cells(pages: Mapping[str, Mapping[str, str]]) -> Callable[[int | None, Row, str], dict[str, Any]]:
    """A row's cells as board.js writes them too."""

    def cells(rank: int | None, row: Row, root: str) -> dict[str, Any]:
        speedup = None
        if row.speedup is not None and row.speedup_low is not None and row.speedup_high is not None:
            speedup = Interval(low=row.speedup_low, mid=row.speedup, high=row.speedup_high)
        return {
            "rank": NONE if rank is None else str(rank),
            "model": row.model,
            "model_page": root + pages["model"][row.model],
            "hardware": row.hardware,
            "hardware_page": root + pages["hardware"][row.hardware],
            "build": f"{TITLES.get(row.backend, row.backend)} {row.precision}",
            "record_page": f"{root}record.html#{row.id}",
            "shape": f"{row.batch} × {row.length}" if row.length else str(row.batch),
            "p50": seconds_text(row.p50_seconds),
            "p99": seconds_text(row.p99_seconds),
            "speedup": ratio_text(speedup),
            "kept": NONE if row.kept is None else f"{row.kept:.1%}",
            "size": bytes_text(row.artifact_bytes),
            "memory": bytes_text(row.peak_memory_bytes),
            "by": row.verified_by,
            "runs": row.submissions,
        }

    return cells
