"""The steps from jobs to what lies in reports/: models made, compared, packed, checked, shown.

Everything that is published is made of the submissions alone, which are without folders and names. A submission is
replaced by a newer one of the same model, task and kind of machine only when that is packed, and so is sound.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from optibench import api, boards, host, store
from optibench.leaderboard.judged import Judged
from optibench.results import Comparison
from optibench.values import Host
from tests.site.jobs import Job
from tests.site.page import page_of

ROOT = Path(__file__).parents[2]
VERSIONS = ("torch", "transformers", "onnxruntime", "openvino", "nncf")
"""The packages whose other version calls for another measurement."""
CHARTS = ("tradeoff", "latency")
TITLE = "Small models on CPUs"


def say(text: str) -> None:
    print(f"site: {text}", flush=True)


def measure_all(jobs: Sequence[Job], reports: Path, work: Path, *, again: bool = False) -> bool:
    """Measures each job that has no submission yet. Whether all went well; what did not is said, and the rest done."""
    fine, there, here = True, judged(reports / "submissions"), host.describe()
    for job in jobs:
        began = time.monotonic()
        older = {path: found for path, found in of_job(job, there) if found.host.cpu_model == here.cpu_model}
        if not again and any(is_current(found.host, here) for found in older.values()):
            say(f"{job.name}: a submission of this machine and these versions is there (--again measures anew)")
        elif install := job.missing():
            say(f"{job.name}: left out; first {install}")
        else:
            try:
                measure(job, reports / "submissions", work / job.name, older, again=again)
            except Failed as why:
                fine = False
                say(f"{job.name}: {why}")
            say(f"{job.name}: {time.monotonic() - began:.0f} s")
    return fine


class Failed(Exception):
    """Why a job has no new submission."""


class Refused(Failed):
    """Its run is one that no board would take. Of honest runs the A/A check refuses one in twenty."""


def measure(job: Job, submissions: Path, folder: Path, older: Iterable[Path] = (), *, again: bool = False) -> None:
    """Makes the job's model, compares its builds in ``folder`` and puts the submission in place of the older ones.

    Errors: Failed; then the older ones stay.
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    folder.mkdir(parents=True, exist_ok=True)
    if again or not (folder / "made").exists():
        make(job, folder, env)
    try:
        path = submitted(compared(job, folder, env, again=again), submissions)
    except Refused as why:
        say(f"{job.name}: {why} Measured once more")
        path = submitted(compared(job, folder, env, again=True), submissions)
    for one in older:
        if one != path:
            one.unlink()


def make(job: Job, folder: Path, env: Mapping[str, str]) -> None:
    """The job's model and data, by its program."""
    if job.fixture:
        say(f"{job.name}: {job.fixture}")
        if subprocess.run([sys.executable, "-m", job.fixture, "."], cwd=folder, env=env).returncode:
            raise Failed(f"{job.fixture} failed")
    if (folder / "model").exists():
        shutil.rmtree(folder / job.model, ignore_errors=True)
        (folder / "model").replace(folder / job.model)
    (folder / "made").touch()


def compared(job: Job, folder: Path, env: Mapping[str, str], *, again: bool) -> Path:
    """The run's folder. One that was interrupted goes on, unless it is to be measured ``again``."""
    run = folder / "run"
    if again or not (run / store.PLAN).exists() or (run / store.COMPARISON).exists():
        shutil.rmtree(run, ignore_errors=True)
    asked = ("--resume", "run") if run.exists() else (*shlex.split(job.arguments), "--out", "run")
    say(f"{job.name}: optibench compare {' '.join(asked)}")
    done = subprocess.run([sys.executable, "-m", "optibench.cli", "compare", *asked], cwd=folder, env=env)
    if done.returncode:
        raise Failed(f"optibench compare ended with {done.returncode}")
    return run


def submitted(run: Path, submissions: Path) -> Path:
    """The submission of a run."""
    if store.load(run).workload.tier != "official":
        raise Failed("its rounds did not fit in its budget: no official run")
    done = boards.submit(run, submissions)
    if done.path is None:
        raise Refused(f"no board would take it: {'; '.join(done.problems)}.")
    return done.path


def judged(submissions: Path) -> list[Judged]:
    """All that lie there, checked."""
    return boards.validate([submissions]) if any(submissions.glob("*.zip")) else []


def of_job(job: Job, there: Iterable[Judged]) -> list[tuple[Path, Comparison]]:
    """The job's sound submissions, of any machine, the newest first."""
    found = [(one.path, one.entry.comparison) for one in there if one.entry]
    mine = [(path, told) for path, told in found if (told.model.id, told.model.task) == (job.model, job.task)]
    return sorted(mine, key=lambda one: one[1].created, reverse=True)


def is_current(measured: Host, here: Host) -> bool:
    """Whether the versions that it was measured with are those installed here."""
    return all(measured.packages.get(name) == here.packages.get(name) for name in VERSIONS)


def write_pages(reports: Path, jobs: Sequence[Job]) -> None:
    """The board, the main job's report and pictures, and what says what all this is. Errors: one of the submissions is
    not sound, or the main job has none."""
    there = judged(reports / "submissions")
    if refused := [f"{one.path.name}: {'; '.join(one.problems)}" for one in there if not one.fine]:
        raise SystemExit("\n".join(refused))
    shown = [(job, path, found) for job in jobs for path, found in of_job(job, there)]
    if not shown or shown[0][0] != jobs[0]:
        raise SystemExit(f"{jobs[0].name} has no submission yet, so there is no report to publish")
    built = boards.build([reports / "submissions"], reports / "site", title=TITLE, files=False)
    say(f"{built.path}: {built.rows} rows of {built.submissions} submissions")
    _, main, _ = shown[0]
    for name in ("html", "md"):
        (reports / f"report.{name}").write_bytes(api.report(main, name)[0])
    for chart in CHARTS:
        for look in ("light", "dark"):
            data, _ = api.report(main, "svg", chart=chart, dark=look == "dark")
            (reports / f"{chart}-{look}.svg").write_bytes(data)
    page = page_of([(job.about, found) for job, _, found in shown], VERSIONS)
    (reports / "README.md").write_text(page, encoding="utf-8")
