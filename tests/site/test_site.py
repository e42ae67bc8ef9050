"""What lies in reports/ is what its submissions say; and the steps that put it there keep what they cannot better."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from optibench import boards
from tests.conftest import write_fake_target
from tests.leaderboard.made import raw
from tests.site import steps
from tests.site.jobs import JOBS, Job

REPORTS = Path(__file__).parents[2] / "reports"


def rows_of(site: Path) -> list[dict[str, object]]:
    rows = json.loads((site / "data" / "board.json").read_text())["rows"]
    return sorted(rows, key=lambda row: row["id"])  # type: ignore[no-any-return]


def test_jobs_are_measured_once_and_shown_and_a_failed_run_replaces_nothing(
    tiny_classifier: Path, reviews: Path, cache_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    targets = write_fake_target(tmp_path / "targets", int8={"latency_seconds": 0.004})
    asked = f"--targets pretend --targets-dir {targets} --length 16"
    judged_by = f"--dataset {reviews} --columns text=review,label=verdict"
    jobs = []
    for seed, name in enumerate(("one", "two")):  # of one seed the fake machine's times are alike: no board takes both
        shutil.copytree(tiny_classifier, tmp_path / "models" / name)
        arguments = f"{tmp_path}/models/{name} {asked} {judged_by} --seed {seed}"
        jobs.append(Job(name=name, model=name, task="text-classification", about=f"about {name}", arguments=arguments))
    out, work = tmp_path / "reports", tmp_path / "work"
    absent = Job(name="absent", model="absent", task="any", about="", arguments="", missing=lambda: "install it")
    assert steps.measure_all([*jobs, absent], out, work)
    steps.write_pages(out, [*jobs, absent])
    assert {row["model"] for row in rows_of(out / "site")} == {"one", "two"}
    assert "about two" in (out / "README.md").read_text()
    assert "Content-Security-Policy" in (out / "report.html").read_text()

    kept = {path: path.read_bytes() for path in (out / "submissions").iterdir()}
    assert len(kept) == 2
    wrong = [Job(name=job.name, model=job.model, task=job.task, about="", arguments="nowhere") for job in jobs]
    assert steps.measure_all(wrong, out, work)  # what is there of these versions is not measured again
    assert not steps.measure_all(wrong, out, work, again=True)
    assert {path: path.read_bytes() for path in (out / "submissions").iterdir()} == kept
    anew = replace(jobs[0], arguments=f"{jobs[0].arguments}2")
    assert steps.measure_all([anew], out, work, again=True)
    now = set((out / "submissions").iterdir())
    assert len(now) == 2
    assert len(now & set(kept)) == 1


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[boards.Built, Path]:
    """The board that the published submissions make today."""
    site = tmp_path_factory.mktemp("published") / "site"
    return boards.build([REPORTS / "submissions"], site, title=steps.TITLE, files=False), site


def test_the_published_board_is_what_its_submissions_say(rebuilt: tuple[boards.Built, Path]) -> None:
    built, site = rebuilt
    assert not built.refused
    assert rows_of(REPORTS / "site") == rows_of(site)
    assert (REPORTS / "site" / "index.html").is_file()


def test_each_job_stands_on_the_published_board_officially_with_its_score(rebuilt: tuple[boards.Built, Path]) -> None:
    rows = rows_of(rebuilt[1])
    shown = {(row["model"], row["task"]) for row in rows if row["tier"] == "official" and row["score"] is not None}
    assert shown == {(job.model, job.task) for job in JOBS}
    assert len({model for model, _ in shown}) >= 6
    assert len({task for _, task in shown}) >= 4


def test_nothing_published_names_a_folder_of_whoever_measured() -> None:
    private = re.compile(r"/(?:home|root|tmp|work|Users|mnt|usr)/\w")
    files = [*REPORTS.glob("*.md"), *REPORTS.glob("*.html"), *(REPORTS / "site").rglob("*.html")]
    texts = {path.name: path.read_text() for path in files}
    for path in (REPORTS / "submissions").glob("*.zip"):
        texts |= {f"{path.name}/{name}": data.decode() for name, data in raw(path).items()}
    assert len(texts) > len(JOBS)
    assert {name: found[0] for name, text in texts.items() if (found := private.search(text))} == {}
