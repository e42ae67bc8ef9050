"""docs/leaderboard.md is true: every command it holds runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import minisign
import pytest
import yaml

from tests.leaderboard.made import edited, records_of, write_run, write_submission

PAGE = (Path(__file__).parents[2] / "docs" / "leaderboard.md").read_text()
WORKFLOW = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
START, SIGNED = (block.splitlines() for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL))


def commands(job: str) -> list[str]:
    return [step["run"] for step in WORKFLOW["jobs"][job]["steps"] if "run" in step]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository as the page supposes it, beside a finished run."""
    (tmp_path / "requirements.txt").write_text("optibench\n")
    (tmp_path / "submissions").mkdir()
    (tmp_path / "keys").mkdir()
    write_run(tmp_path / "run", records_of())
    return tmp_path


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PIP_NO_INDEX": "1", "OPTIBENCH_SIGNING_PASSWORD": "correct horse"}
    done = subprocess.run(["bash", "-e", "-c", command], cwd=folder, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


def test_the_three_commands_of_the_page_make_a_site_of_a_run(repository: Path) -> None:
    for command in START:
        assert (done := run(command, repository)).returncode == 0, done.stderr
    assert "cpu" not in (repository / "site" / "feed.xml").read_text().partition("<entry>")[0]
    assert "minilm" in (repository / "site" / "index.html").read_text()


def test_a_signed_submission_is_verified(repository: Path) -> None:
    generate, *rest = SIGNED
    assert generate == "minisign -G -p keys/ann.pub -s ann.key"  # asks for a password at a terminal
    pair = minisign.KeyPair.generate()
    (repository / "keys" / "ann.pub").write_bytes(bytes(pair.public_key))
    pair.secret_key.encrypt("correct horse")
    (repository / "ann.key").write_bytes(bytes(pair.secret_key))
    for command in rest:
        assert (done := run(command, repository)).returncode == 0, done.stderr
    assert "official, signed by ann" in done.stdout


def test_the_github_workflow_refuses_what_does_not_validate_and_builds_what_does(repository: Path) -> None:
    write_submission(repository / "submissions")
    for job in ("validate", "publish"):
        for command in commands(job):
            assert (done := run(command, repository)).returncode == 0, done.stderr
    assert "<title>Our board</title>" in (repository / "site" / "index.html").read_text()

    def faster(lines: list[dict[str, object]]) -> None:
        for line in lines:
            if line["measurement"]:
                line["measurement"]["load_seconds"] = 0.01  # type: ignore[index]

    broken = write_submission(repository / "submissions", seed=5)
    edited(broken, faster, honest=False)
    *_, validate = commands("validate")
    done = run(validate, repository)
    assert done.returncode == 1
    assert f"refused  {broken.relative_to(repository)}" in done.stdout
    assert "load_seconds is 0.31, and the records give 0.01" in done.stdout
    *_, publish = commands("publish")
    done = run(publish, repository)
    assert done.returncode == 0
    assert broken.name in done.stderr
    assert "of 1 submission" in done.stdout


def test_every_command_of_the_page_is_run_here() -> None:
    written = re.findall(r"^ *(?:- run: )?((?:python -m|optibench|minisign) .*)$", PAGE, re.MULTILINE)
    assert set(written) == {*START, *SIGNED, *commands("validate"), *commands("publish")}
