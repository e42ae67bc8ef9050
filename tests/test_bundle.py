"""A run as one file: the same bytes each time, and nothing believed that cannot be checked."""

from __future__ import annotations

import json
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from optibench import bundle
from optibench.errors import OptibenchError
from optibench.runs import open_kept
from tests.kept import INT8, records_of, write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "run", records_of({INT8: 2.0}))
    (folder / "plan.json").write_text("{}")
    (folder / "logs" / "builder.log").write_text("built\n")
    (folder / "logs" / "long.log").write_text("x" * 300_000)
    (folder / "notes.txt").write_text("of the user's own")
    return folder


@pytest.fixture
def packed(run: Path, tmp_path: Path) -> Path:
    return bundle.write(run, tmp_path / "run.optibench.zip")[0]


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The bundle with its members changed, as someone with a zip program would."""
    files = members(path)
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return path


def test_a_bundle_gives_back_the_runs_files_and_names_the_log_that_it_left_out(run: Path, tmp_path: Path) -> None:
    path, manifest = bundle.write(run, tmp_path / "b.zip")
    _, files = bundle.read(path)
    assert set(files) == {"records.jsonl", "plan.json", "comparison.json", "logs/builder.log"}
    assert all((run / name).read_bytes() == data for name, data in files.items())
    assert manifest.left_out == ("logs/long.log",)
    assert open_kept(path).records() == open_kept(run).records()


def test_the_same_run_gives_the_same_bytes_whenever_it_is_bundled(run: Path, packed: Path, tmp_path: Path) -> None:
    for file in run.rglob("*.json*"):
        file.touch()
    assert bundle.write(run, tmp_path / "again.zip")[0].read_bytes() == packed.read_bytes()


def test_a_bundle_never_replaces_a_file(run: Path, packed: Path) -> None:
    with pytest.raises(OptibenchError, match="exists already"):
        bundle.write(run, packed)


def test_a_run_without_records_and_a_folder_without_a_run_are_not_bundled(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match="has no run in it"):
        bundle.write(tmp_path)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(OptibenchError, match="no records yet"):
        bundle.write(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_bundle_that_was_cut_off_is_refused(packed: Path, share: float) -> None:
    data = packed.read_bytes()
    packed.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OptibenchError, match="cut off or damaged"):
        bundle.read(packed)


def test_a_flipped_byte_is_refused_or_changes_nothing(packed: Path) -> None:
    whole, good = packed.read_bytes(), bundle.read(packed)[1]
    rng = random.Random(7)
    refused = 0
    for _ in range(150):
        at = rng.randrange(len(whole))
        packed.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        try:
            assert bundle.read(packed)[1] == good
        except OptibenchError:
            refused += 1
    assert refused > 100


def test_an_edited_number_is_told_by_its_digest(packed: Path) -> None:
    def edit(files: dict[str, bytes]) -> None:
        files["records.jsonl"] = files["records.jsonl"].replace(
            b'"cold_start_seconds":1.24', b'"cold_start_seconds":1.04'
        )

    with pytest.raises(OptibenchError, match=r"changed after it was bundled: records\.jsonl has another digest"):
        bundle.read(rewrite(packed, edit))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: files.update({"../evil.log": b"x"}), r"'\.\./evil\.log', which no bundle"),
        (lambda files: files.update({"/etc/passwd": b"x"}), "which no bundle"),
        (lambda files: files.update({"logs/../../evil.log": b"x"}), "which no bundle"),
        (lambda files: files.update({"run.py": b"print()"}), "which no bundle"),
        (lambda files: files.update({"logs/new.log": b"x"}), r"manifest does not name logs/new\.log"),
        (lambda files: files.pop("records.jsonl"), r"records\.jsonl is missing"),
        (lambda files: files.pop("manifest.json"), r"without manifest\.json"),
        (lambda files: files.update({"manifest.json": b"{"}), "not a whole manifest"),
        (lambda files: files.update({"manifest.json": b"[" * 100_000}), "not a whole manifest"),
        (
            lambda files: files.update({"manifest.json": json.dumps({"schema": 9, "run": "x", "files": {}}).encode()}),
            "has schema 9",
        ),
    ],
)
def test_what_no_bundle_holds_is_refused_in_a_sentence(
    packed: Path, change: Callable[[dict[str, bytes]], None], words: str
) -> None:
    with pytest.raises(OptibenchError, match=words):
        bundle.read(rewrite(packed, change))


def test_a_link_in_a_bundle_is_refused(packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as zipped:
        link = zipfile.ZipInfo("logs/link.log")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(OptibenchError, match="as a link or device"):
        bundle.read(packed)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_stands_twice_in_a_bundle_is_refused(packed: Path) -> None:
    with zipfile.ZipFile(packed, "a") as zipped:
        zipped.writestr("records.jsonl", "other")
    with pytest.raises(OptibenchError, match="twice"):
        bundle.read(packed)


def test_a_bundle_that_unpacks_beyond_the_limit_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("logs/bomb.log", b"0" * (2 << 20))
    with pytest.raises(OptibenchError, match="more than 1 MiB"):
        bundle.read(packed)


def test_a_file_that_is_no_zip_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(OptibenchError, match="no whole bundle"):
        open_kept(tmp_path / "file")
