"""A board's rows, how submissions of one case are merged, and the files of its site."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pyarrow.parquet
import pytest

from optibench import boards
from optibench.errors import NothingMeasured, OptibenchError
from optibench.leaderboard.rows import Row, json_schema, merged, ranked
from tests.factories import host, model
from tests.leaderboard.made import INT8, edited, records_of, write_run, write_submission

ATOM = "{http://www.w3.org/2005/Atom}"


def row(p50: float, submission: str = "aa", **changes: Any) -> Row:
    return Row(
        **{
            **dict.fromkeys(("task", "model", "revision", "weights_sha256", "hardware", "target"), "x"),
            **dict.fromkeys(("backend", "precision", "runtime", "verdict"), "x"),
            **dict.fromkeys(("metric", "score", "reference_score", "dataset", "p99_seconds"), None),
            **dict.fromkeys(("artifact_bytes", "peak_memory_bytes", "peak_share", "verified_by"), None),
            **dict.fromkeys(("speedup", "speedup_low", "speedup_high"), 2.0),
            "id": f"{submission}-0", "submission": submission, "batch": 1, "length": 128, "threads": 2,
            "tier": "official", "p50_seconds": p50, "per_second": 1 / p50, "kept": 1.0, "created": "2026-11-20",
            "p50_seconds_least": p50, "p50_seconds_most": p50,
            **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("times", "shown"), [((3.0,), 3.0), ((1.0, 3.0), 3.0), ((1.0, 3.0, 2.0), 2.0), ((4.0, 1.0, 2.0, 3.0), 3.0)]
)
def test_the_median_submission_stands_for_all_of_one_case_and_of_two_the_slower(
    times: tuple[float, ...], shown: float
) -> None:
    (found,) = merged(row(p50, f"{number:02x}") for number, p50 in enumerate(times))
    assert found.p50_seconds == shown
    assert found.submissions == len(times)
    assert (found.p50_seconds_least, found.p50_seconds_most) == (min(times), max(times))
    assert len(found.others) == len(times) - 1


def test_where_one_is_verified_verified_ones_alone_count() -> None:
    (found,) = merged([row(1.0, "aa"), row(5.0, "bb", verified_by="ann"), row(1.1, "cc")])
    assert (found.p50_seconds, found.verified_by, found.submissions) == (5.0, "ann", 3)


@pytest.mark.parametrize(
    "other", [{"tier": "quick"}, {"hardware": "y"}, {"runtime": "y 2"}, {"weights_sha256": "y"}, {"batch": 8}]
)
def test_what_differs_in_hardware_runtime_weights_shape_or_tier_is_never_merged(other: dict[str, Any]) -> None:
    assert len(merged([row(1.0), row(2.0, "bb", **other)])) == 2


def test_a_model_called_otherwise_is_the_same_model() -> None:
    assert len(merged([row(1.0), row(2.0, "bb", model="a copy of it")])) == 1


def test_rows_below_the_floor_or_without_a_score_have_no_rank_and_tiers_are_apart() -> None:
    rows = [row(1.0, "aa", kept=0.95), row(2.0, "bb"), row(3.0, "cc", kept=None), row(4.0, "dd", tier="quick")]
    assert [(rank, one.submission) for rank, one in ranked(rows, "official")] == [(1, "bb"), (None, "aa"), (None, "cc")]
    assert [rank for rank, _ in ranked(rows, "official", 0.9)] == [1, 2, None]
    assert [one.submission for _, one in ranked(rows, "quick")] == ["dd"]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of three submissions: two machines, and a quick run."""
    folder = tmp_path_factory.mktemp("board")
    write_submission(folder / "in", right={INT8: 0.97})
    write_submission(folder / "in", seed=1, host=host(cpu_model="ARM part 0xd40"), speedups={INT8: 1.9})
    write_submission(folder / "in", seed=2, blocks=12, model=model(id="user/tiny", task="text-classification"))
    boards.build([folder / "in"], folder / "site", title="Test board", address="https://example.org/board/")
    return folder / "site"


def board(site: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site / "data" / "board.json").read_text())
    return found


def test_the_rows_stand_beside_the_pages_as_json_and_parquet_and_obey_the_schema(site: Path) -> None:
    found = board(site)
    jsonschema.validate(found, json.loads((site / "data" / "board.schema.json").read_text()))
    assert json.loads((site / "data" / "board.schema.json").read_text()) == json.loads(
        msgspec.json.encode(json_schema())
    )
    assert len(found["rows"]) == 8
    assert pyarrow.parquet.read_table(site / "data" / "board.parquet").to_pylist() == found["rows"]
    assert {one["tier"] for one in found["rows"]} == {"official", "quick"}
    int8 = next(one for one in found["rows"] if one["precision"] == "int8" and one["kept"] < 1)
    assert int8["speedup_low"] < 2.5 < int8["speedup_high"]
    assert int8["hardware"] == "Intel Xeon Platinum 8481C, 2 cores"
    assert int8["runtime"] == "onnxruntime 1.32.0"


def test_the_first_page_is_plain_html_with_the_official_rows_only(site: Path) -> None:
    text = (site / "index.html").read_text()
    assert text.count('scope="row"') == 5
    assert "user/tiny" not in text
    assert "ONNX Runtime int8" in text


def test_every_model_and_every_machine_has_a_page_and_every_link_between_them_leads_somewhere(site: Path) -> None:
    assert len(list((site / "models").iterdir())) == 2
    assert len(list((site / "hardware").iterdir())) == 2
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
            assert not link.startswith(("http", "/")), link
            assert (page.parent / link).is_file(), (page.name, link)


def test_the_feed_names_every_submission_once_with_a_whole_address(site: Path) -> None:
    feed = ElementTree.parse(site / "feed.xml").getroot()
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 3
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == 3
    link = entries[0].find(f"{ATOM}link")
    assert link is not None
    assert link.get("href", "").startswith("https://example.org/board/record.html#")
    assert feed.findtext(f"{ATOM}updated") == "2026-11-20T10:00:00+00:00"


def test_the_submissions_lie_beside_the_pages_and_validate(site: Path) -> None:
    found = boards.validate([site / "submissions"])
    assert len(found) == 3
    assert all(one.fine for one in found)
    assert {one.path.name.partition(".")[0] for one in found} == {one["submission"] for one in board(site)["rows"]}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_submissions_give_the_same_bytes(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    boards.build([site / "submissions"], again, title="Test board", address="https://example.org/board/")
    assert files_of(again) == files_of(site)


def test_a_site_is_replaced_as_a_whole_and_nothing_else_is(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Path(shutil.copytree(site, tmp_path / "site"))
    (mine / "models" / "of-old.html").write_text("old")
    before = files_of(mine)
    with monkeypatch.context() as patched:
        patched.setattr("optibench.folders.put", lambda path, data: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(OptibenchError, match="What was there before is kept"):
            boards.build([site / "submissions"], mine)
    assert files_of(mine) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site"]
    boards.build([tmp_path, site / "submissions"], mine)  # the site's own copies are not judged again
    assert not (mine / "models" / "of-old.html").exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("x")
    with pytest.raises(OptibenchError, match="holds something that is not a board's site"):
        boards.build([site / "submissions"], precious)
    with pytest.raises(OptibenchError, match="is a file"):
        boards.build([site / "submissions"], precious / "thesis.txt")


def test_a_board_of_nothing_sound_says_why(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of(twin=1.2))
    with pytest.raises(NothingMeasured, match=r"No submission is sound.*A/A check failed"):
        boards.build([run], tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_of_a_thousand_submissions_the_broken_one_is_named_and_the_rest_is_built(tmp_path: Path) -> None:
    base = write_submission(tmp_path / "one", speedups={}, blocks=10, rounds=2)  # the reference and its twin
    data = base.read_bytes()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1000):

        def turn(lines: list[dict[str, Any]], number: int = number) -> None:
            """Another order of the calls in each burst: other samples, of which the same statistics come."""
            for place, line in enumerate(lines):
                for series in (line["measurement"] or {"series": ()})["series"]:
                    for at, burst in enumerate(series["bursts"]):
                        by = number // 3 ** ((at + place) % 7) % 3
                        burst["wall_ns"] = burst["wall_ns"][by:] + burst["wall_ns"][:by]

        base.write_bytes(data)
        edited(base, turn, honest=False, out=folder / f"{number:04}.optibench.zip")
    broken = folder / "0500.optibench.zip"
    broken.write_bytes(broken.read_bytes()[:-200])
    done = boards.build([folder], tmp_path / "site")
    assert [one.path.name for one in done.refused] == ["0500.optibench.zip"]
    assert done.submissions == 999
    (row,) = board(tmp_path / "site")["rows"]  # all of one case: merged
    assert row["submissions"] == 999


def test_hostile_names_are_text_on_every_page(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>\x1b\u202e' + "x" * 300_000
    records = records_of(model=model(id=evil, task="text-classification"), host=host(cpu_model="</script><img src=x>"))
    run = write_run(tmp_path / "run", records)
    boards.build([run], tmp_path / "site")
    for page in (tmp_path / "site").rglob("*.html"):
        text = page.read_text()
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "\x1b" not in text
        assert len(text) < 400_000, page.name
    ElementTree.parse(tmp_path / "site" / "feed.xml")


def test_a_row_is_a_frozen_value() -> None:
    assert msgspec.json.decode(msgspec.json.encode(row(1.0)), type=Row) == row(1.0)
