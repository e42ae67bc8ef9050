"""What the README says is true: its commands run, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from optibench import cli
from tests.conftest import Optibench

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "reports" / "README.md"]


def commands(page: str = README) -> list[str]:
    """Every optibench command in a page's shell blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
    lines = [part.strip() for block in blocks for line in block.splitlines() for part in line.split("&&")]
    return [line for line in lines if line.startswith("optibench ")]


@pytest.mark.parametrize("line", [*commands(), *commands((ROOT / "docs" / "publishing.md").read_text())])
def test_every_command_of_the_readme_and_of_publishing_is_one_that_the_program_takes(line: str) -> None:
    words = shlex.split(line)[1:]
    command: click.Command = cli.cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words, resilient_parsing=False)
    assert context.params


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_the_test_command_of_the_readme_is_what_ci_runs() -> None:
    line = next(line for line in README.splitlines() if "tox run" in line)
    environments = set(line.rpartition("-e ")[2].split(","))
    run = (ROOT / ".ci" / "run").read_text()
    in_ci = set(",".join(re.findall(r"tox run -e (\S+)", run)).split(","))
    # CI's own: TensorRT's check, in short (docs/gpu.md), and the pages', which needs a browser (CONTRIBUTING.md).
    assert in_ci == {*environments, "nvidia", "browser"}


@pytest.mark.slow
def test_the_main_job_runs_as_the_readme_says(optibench: Optibench, tmp_path: Path) -> None:
    """The README's own comparison of a real model on real data; --quick is all that is added."""
    line = next(line for line in commands() if "compare minilm --targets" in line)
    done = optibench(*shlex.split(line)[1:], "--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cpu/openvino/int8" in done.stdout
    assert "spearman" in done.stdout
    assert "Noise floor" in done.stdout
    assert "no NVIDIA driver here" in done.stdout
    assert next((tmp_path / "optibench-runs").iterdir()).joinpath("report.md").is_file()


@pytest.mark.slow
def test_the_python_lines_of_the_readme_are_typed_and_run(tmp_path: Path, cache_root: Path) -> None:
    import os

    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    code = code.replace("quick=True", 'rounds=1, budget_seconds=5, backends=["onnxruntime"], precisions=["int8"]')
    env = {**os.environ, "OPTIBENCH_CACHE": str(cache_root), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cpu/onnxruntime/int8" in done.stdout
    assert (tmp_path / "minilm-run" / "comparison.json").is_file()
