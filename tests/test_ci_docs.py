"""docs/ci.md is true: its jobs' commands run as they stand there, on a machine of known speed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import write_fake_target

PAGE = (Path(__file__).parent.parent / "docs" / "ci.md").read_text()
GITHUB, GITLAB = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
TWO_RUNS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[0].splitlines()


def github_commands(job: str) -> list[str]:
    return [step["run"] for step in GITHUB["jobs"][job]["steps"] if "run" in step]


@pytest.fixture
def repository(tmp_path: Path, tiny_bert: Path) -> Path:
    """A repository as the page supposes it, with a machine of known speed."""
    (tmp_path / "requirements.txt").write_text("optibench\n")
    (tmp_path / "model").symlink_to(tiny_bert)
    write_fake_target(tmp_path / "targets")
    return tmp_path


def run(commands: list[str], variables: dict[str, Any], folder: Path, cache: Path) -> list[int]:
    """The exit codes of the commands, each by a shell of its own as CI does it, in the job's environment. Only its
    variables are others: what is measured here is the fake backend."""
    options = {"OPTIONS": "--targets pretend --targets-dir targets --length 16 --rounds 3 --budget 10m"}
    env = {
        **os.environ,
        **{name: str(value) for name, value in variables.items()},
        **options,
        "OPTIBENCH_CACHE": str(cache),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }
    codes = []
    for command in commands:
        done = subprocess.run(["bash", "-e", "-c", command], cwd=folder, env=env, capture_output=True, text=True)
        assert "Traceback" not in done.stderr
        codes.append(done.returncode)
        if done.returncode not in (0, 1):
            raise AssertionError((command, done.stdout, done.stderr))
    return codes


def test_the_github_workflow_makes_a_baseline_and_gates_by_it(repository: Path, cache_root: Path) -> None:
    variables = GITHUB["env"]
    made = run(github_commands("baseline"), variables, repository, cache_root)
    assert made == [0] * len(made)
    baseline = repository / variables["BASELINE"]
    baseline.parent.mkdir(parents=True)
    (repository / "new-baseline.json").rename(baseline)
    commands = github_commands("gate")
    assert run(commands, variables, repository, cache_root) == [0] * len(commands)
    assert ElementTree.parse(repository / "gate.xml").getroot()[0].get("failures") == "0"
    assert "optibench gate: tiny-bert" in (repository / "summary.md").read_text()


def test_the_gitlab_job_fails_by_a_planted_slowdown(repository: Path, cache_root: Path) -> None:
    commands, variables = GITLAB["optibench"]["script"], GITLAB["optibench"]["variables"]
    before = ['optibench compare "$MODEL" $OPTIONS --out first', 'optibench baseline save first --out "$BASELINE"']
    assert run(before, variables, repository, cache_root) == [0, 0]
    write_fake_target(repository / "targets", int8={"latency_seconds": 0.006})
    assert run(commands, variables, repository, cache_root) == [0, 0, 1]
    assert ElementTree.parse(repository / "gate.xml").getroot()[0].get("failures") == "1"


def test_two_versions_in_one_job_are_gated(repository: Path, cache_root: Path) -> None:
    (repository / "old").mkdir()
    (repository / "old" / "model").symlink_to(repository / "model")
    variables = {**GITHUB["env"], "OLD_MODEL": "old/model"}
    assert run(TWO_RUNS, variables, repository, cache_root) == [0] * len(TWO_RUNS)


def test_every_shell_command_of_the_page_is_in_one_of_these_jobs() -> None:
    """So that no command is added that no test runs."""
    tested = {*github_commands("gate"), *github_commands("baseline"), *GITLAB["optibench"]["script"], *TWO_RUNS}
    written = re.findall(r"^ *(?:- run: |- )?((?:python -m|optibench) .*)$", PAGE, re.MULTILINE)
    assert set(written) == tested
