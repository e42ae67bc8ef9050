"""`optibench leaderboard` as a user types it: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optibench import boards
from optibench.errors import OptibenchError
from optibench.leaderboard.judged import Judged
from optibench.render import judged as judged_text
from tests.conftest import Optibench, write_fake_target
from tests.leaderboard.made import raw, records_of, write_run, write_submission


def test_a_site_does_not_take_the_place_of_a_repository_of_git(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / ".git").mkdir(parents=True)
    (site / "data").mkdir()
    (site / boards.MARK).write_text("{}")
    with pytest.raises(OptibenchError, match="is a repository of git, which would be lost"):
        boards.build([tmp_path], site)
    assert (site / ".git").is_dir()


def test_a_site_does_not_take_the_place_of_what_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == site)
    with pytest.raises(OptibenchError, match=r"is mounted.* Give a folder inside of it"):
        boards.build([tmp_path], site)


def test_a_run_is_submitted_validated_and_built_and_each_says_what_it_did(optibench: Optibench, tmp_path: Path) -> None:
    write_run(tmp_path / "run", records_of())
    (tmp_path / "in").mkdir()
    done = optibench("leaderboard", "submit", "run", "--out", "in", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("in/minilm-intel-xeon-platinum-8481c-2026-11-20-")
    (tmp_path / "in" / "broken.optibench.zip").write_bytes(b"PK")
    done = optibench("leaderboard", "validate", "in", cwd=tmp_path)
    assert done.returncode == 1
    assert "sound    in/minilm" in done.stdout
    assert "minilm on Intel Xeon Platinum 8481C, 2 cores, 3 rows, official, unverified" in done.stdout
    assert "refused  in/broken.optibench.zip" in done.stdout
    assert "Sound: 1 of 2 submissions." in done.stdout
    done = optibench("leaderboard", "build", "in", "--out", "site", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "site: 3 rows of 1 submission\n"
    assert "broken.optibench.zip" in done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_what_is_refused_is_not_packed_and_ends_with_one(optibench: Optibench, tmp_path: Path) -> None:
    write_run(tmp_path / "run", records_of(twin=1.1))
    done = optibench("leaderboard", "submit", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "No board would take run:\n  the A/A check failed" in done.stderr
    assert not list(tmp_path.glob("*.zip"))
    done = optibench("leaderboard", "build", "run", "--out", "site", cwd=tmp_path)
    assert done.returncode == 3
    assert "No submission is sound" in done.stderr


def test_a_place_that_cannot_be_written_is_told_before_anything_is_judged(optibench: Optibench, tmp_path: Path) -> None:
    write_run(tmp_path / "run", records_of())
    (tmp_path / "file").write_text("mine")
    done = optibench("leaderboard", "build", "run", "--out", "file/site", cwd=tmp_path)
    assert done.returncode == 2
    assert "file/site cannot be written" in done.stderr
    assert "checking" not in done.stderr


def test_of_many_faults_of_a_file_a_dozen_are_shown_and_the_rest_counted() -> None:
    shown = judged_text.text([Judged(Path("in.zip"), problems=tuple(f"fault {n}" for n in range(30)))])
    assert shown.count("fault") == 12
    assert "and 18 more of the kind (--json has all)" in shown


def test_what_was_found_can_be_read_by_a_program(optibench: Optibench, tmp_path: Path) -> None:
    path = write_submission(tmp_path / "in")
    done = optibench("leaderboard", "validate", path, "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["sound"]
    assert found["problems"] == []
    assert len(found["id"]) == 16


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("validate", "nowhere"), "nowhere does not exist"),
        (("validate", "."), "No submission"),
        (("validate",), "Missing argument"),
        (("build", ".", "--out", "x"), "No submission"),
        (("submit", "."), "has no run in it"),
        (("validat", "."), "Did you mean validate?"),
        (("validate", ".", "--keys", "nowhere"), "nowhere is no folder"),
    ],
)
def test_wrong_use_ends_with_two_and_says_what_is_wrong(
    optibench: Optibench, tmp_path: Path, args: tuple[str, ...], words: str
) -> None:
    done = optibench("leaderboard", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_of_the_whole_pipe_is_taken_and_shows_its_score(
    optibench: Optibench, tiny_classifier: Path, reviews: Path, tmp_path: Path
) -> None:
    targets = write_fake_target(tmp_path / "targets", int8={"latency_seconds": 0.004})
    done = optibench(
        "compare", tiny_classifier, "--targets", "pretend", "--targets-dir", targets, "--dataset", reviews,
        "--columns", "text=review,label=verdict", "--length", "16", "--rounds", "2", "--budget", "10m",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = optibench("leaderboard", "submit", tmp_path / "run", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.partition(" (")[0])
    shown = "\n".join(data.decode() for data in raw(path).values())
    for private in (str(tmp_path), str(tiny_classifier.parent), str(reviews.parent)):
        assert private not in shown
    assert "tiny-classifier" in shown
    (found,) = boards.validate([path])
    assert found.entry is not None, found.problems
    data, calibration = found.entry.comparison.workload.dataset, found.entry.comparison.workload.calibration
    assert data is not None
    assert calibration is not None
    assert (data.id, calibration.id) == ("reviews.csv", "reviews.csv")
    assert data.rows
    assert calibration.rows
    assert [case.scores[0].metric for case in found.entry.comparison.cases] == ["accuracy", "accuracy"]
