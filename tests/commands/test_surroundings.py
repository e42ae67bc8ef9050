"""The command where its surroundings are odd: closed streams, a hostile folder, strange variables of the shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Optibench

FakeTarget = Callable[..., Path]
QUICK = ("--rounds", "2", "--budget", "5s", "--length", "16", "--targets", "pretend", "--targets-dir")


def test_a_users_file_that_bears_a_librarys_name_is_not_run(
    tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, cache_root: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("types", "random", "numpy", "onnxruntime", "msgspec"):
        (here / f"{name}.py").write_text("raise RuntimeError('a file of the user was run')")
    program = shutil.which("optibench", path=str(Path(sys.executable).parent))
    assert program
    done = subprocess.run(
        [program, "compare", tiny_bert, *QUICK, fake_target(), "--out", tmp_path / "run"],
        cwd=here,
        env={**os.environ, "OPTIBENCH_CACHE": str(cache_root), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "comparison.json").is_file()


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-", "2>&-"])
def test_closed_streams_do_not_stop_a_run(
    tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, cache_root: Path, streams: str
) -> None:
    words = [sys.executable, "-m", "optibench.cli", "compare", tiny_bert, *QUICK, fake_target()]
    command = shlex.join(map(str, [*words, "--out", tmp_path / "run"]))
    env = {**os.environ, "OPTIBENCH_CACHE": str(cache_root), "HF_HUB_OFFLINE": "1"}
    assert subprocess.run(f"{command} {streams}", shell=True, env=env).returncode == 0
    assert (tmp_path / "run" / "comparison.json").is_file()


def test_a_full_disk_under_standard_output_is_no_defect(optibench: Optibench) -> None:
    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -m optibench.cli targets > /dev/full",
        shell=True,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "defect" not in done.stderr


def test_a_plugin_that_cannot_be_imported_is_listed_with_its_reason_beside_the_others(
    optibench: Optibench, tmp_path: Path
) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[optibench.backends]\nbroken = no_such_module\n")
    done = optibench("backends", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "The backend 'broken' (no_such_module) cannot be imported" in done.stdout
    assert re.search(r"onnxruntime +yes", done.stdout)


@pytest.mark.slow
def test_a_third_partys_task_is_one_entry_point_and_judges_as_the_page_says(
    optibench: Optibench, tiny_classifier: Path, reviews: Path, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (known,) = re.findall(r"```toml\n\[project.entry-points.\"(.*?)\"\]\n(.*?) = \"(.*?)\"\n```", page)
    group, name, module = known
    (tmp_path / f"{module}.py").write_text(program)
    info = tmp_path / "stars-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stars\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}\n")
    done = optibench(
        "compare", tiny_classifier, "--task", name, "--dataset", reviews, "--columns", "label=verdict", "--json",
        "--backends", "onnxruntime", "--precisions", "fp32", "--rounds", "1", "--budget", "3s", "--length", "16",
        "--out", tmp_path / "run", env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)["cases"]
    assert {tuple(score["metric"] for score in case["scores"]) for case in cases} == {("nearness", "accuracy", "f1")}
    for case in cases:
        near, right, _ = (score["value"] for score in case["scores"])
        assert near == pytest.approx(1 - (1 - right) / 4), "of two classes, a wrong one is off by one"


def test_a_width_that_is_no_number_is_passed_over(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    done = optibench("compare", tiny_bert, *QUICK, fake_target(), "--out", tmp_path / "run", env={"COLUMNS": "wide"})
    assert done.returncode == 0, done.stderr
    assert "pretend/fake/int8" in done.stdout


def test_an_error_shows_a_hostile_name_as_text(optibench: Optibench, tmp_path: Path) -> None:
    folder = tmp_path / "evil\x1b[31m\nname"
    folder.mkdir()
    done = optibench("compare", folder)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
