"""The artifact cache: made once, whole or not at all, checked when it is used."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path
from typing import Any

import pytest

from optibench.cache import Cache, Damaged
from optibench.errors import OptibenchError
from tests.conftest import Optibench

RECIPE = {"kind": "export", "model": "m", "version": 1}


def write(folder: Path) -> dict[str, Any]:
    (folder / "model.onnx").write_bytes(b"graph" * 100)
    return {"seconds": 1.5}


def test_an_entry_is_made_once_and_then_taken(tmp_path: Path) -> None:
    cache, made = Cache(tmp_path), []

    def make(folder: Path) -> dict[str, Any]:
        made.append(folder)
        return write(folder)

    first = cache.get_or_make("export", RECIPE, make)
    second = cache.get_or_make("export", dict(reversed(RECIPE.items())), make)
    assert first == second
    assert len(made) == 1
    assert first.facts == {"seconds": 1.5}
    assert (cache.path(first.key) / "model.onnx").read_bytes() == b"graph" * 100


@pytest.mark.parametrize("change", [{"model": "n"}, {"version": 2}, {"more": None}])
def test_whatever_the_recipe_says_is_part_of_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = Cache(tmp_path)
    cache.get_or_make("export", RECIPE, write)
    assert cache.get({**RECIPE, **change}) is None


def test_a_making_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("half")
        raise RuntimeError("the exporter broke")

    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError, match="the exporter broke"):
        cache.get_or_make("export", RECIPE, fail)
    assert cache.get(RECIPE) is None
    assert list((tmp_path / "entries").iterdir()) == []


@pytest.mark.parametrize("how", ["content", "missing", "manifest"])
def test_a_damaged_entry_is_said_and_made_again(tmp_path: Path, how: str) -> None:
    said: list[str] = []
    cache = Cache(tmp_path, said.append)
    folder = cache.path(cache.get_or_make("export", RECIPE, write).key)
    if how == "content":
        (folder / "model.onnx").write_bytes(b"GRAPH" * 100)
    elif how == "missing":
        (folder / "model.onnx").unlink()
    else:
        (folder / "entry.json").write_text("{")
    with pytest.raises(Damaged):
        cache.verify(folder.name)
    assert cache.get_or_make("export", RECIPE, write).files
    assert any("built again" in text for text in said)
    assert cache.verify(folder.name)


def slow_make(folder: Path) -> dict[str, Any]:
    import time

    with (folder.parent.parent / "made").open("a") as file:
        file.write("x")
    time.sleep(0.3)
    return write(folder)


def build(root: Path) -> None:
    Cache(root).get_or_make("export", RECIPE, slow_make)


def test_two_processes_that_want_the_same_entry_make_it_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=build, args=(tmp_path,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"


def test_a_root_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptibenchError, match="OPTIBENCH_CACHE"):
        Cache(tmp_path / "file" / "cache").get_or_make("export", RECIPE, write)


def test_entries_are_listed_and_removed_and_leftovers_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = cache.get_or_make("export", RECIPE, write)
    (tmp_path / "entries" / ".making-abc").mkdir()
    assert [key for key, _ in cache.entries()] == [entry.key]
    assert [path.name for path in cache.leftovers()] == [".making-abc"]
    cache.remove(entry.key)
    assert list(cache.entries()) == []


def test_prune_removes_what_is_half_made_where_there_is_no_entry(optibench: Optibench, tmp_path: Path) -> None:
    (tmp_path / "entries" / ".making-abc-1").mkdir(parents=True)
    done = optibench("cache", "prune", "--yes", env={"OPTIBENCH_CACHE": str(tmp_path)})
    assert done.stdout == "No entry to remove.\n"
    assert list((tmp_path / "entries").iterdir()) == []


def test_an_entry_that_cannot_be_removed_is_not_called_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    entry = cache.get_or_make("export", RECIPE, write)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)  # what a folder of another user's does
    with pytest.raises(OptibenchError, match="cannot be removed"):
        cache.remove(entry.key)


def test_what_a_living_run_is_making_is_no_leftover(tmp_path: Path) -> None:
    cache, seen = Cache(tmp_path), []

    def make(folder: Path) -> None:
        (folder / "file").write_text("half")
        seen.extend(Cache(tmp_path).leftovers())

    cache.get_or_make("test", {"a": 1}, make)
    assert seen == []


def test_a_file_where_an_entry_should_be_is_damage_like_any_other(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    entry = cache.get_or_make("test", {"a": 1}, lambda folder: None)
    shutil.rmtree(cache.path(entry.key))
    cache.path(entry.key).write_text("in the way")
    with pytest.raises(Damaged):
        cache.verify(entry.key)
    assert cache.get_or_make("test", {"a": 1}, lambda folder: None).key == entry.key
