"""docs/add-a-backend.md: its distribution installs beside optibench and is found, its target loads, and what it lacks
is said. ExecuTorch itself (130 MB) is run through the same page by ``tox run -e plugin`` (tests/plugin)."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Optibench

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "add-a-backend.md").read_text()
(TARGET,) = (block for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("name"))
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the page's distribution is installed, without what it depends on."""
    pytest.importorskip("hatchling")
    if importlib.util.find_spec("executorch"):
        pytest.skip("ExecuTorch is installed here, so that nothing is lacking")
    folder = tmp_path_factory.mktemp("plugins")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    source = ROOT / "docs" / "executorch"
    subprocess.run([*command, "--target", str(folder), str(source)], check=True, capture_output=True)
    return {"PYTHONPATH": str(folder)}


def test_it_is_listed_with_what_it_lacks(optibench: Optibench, installed: dict[str, str]) -> None:
    done = optibench("backends", env=installed)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("executorch"))
    assert "pip install 'executorch>=1.5'" in line


def test_its_cases_are_planned_and_told_as_skipped(
    optibench: Optibench, installed: dict[str, str], tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").symlink_to(tiny_bert)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "small-cpu.toml").write_text(TARGET)
    for line in (line for block in BLOCKS for line in block.splitlines() if line.startswith("optibench compare")):
        done = optibench(*line.split()[1:], "--dry-run", cwd=tmp_path, env=installed)
        assert done.returncode == 0, done.stderr
        assert "executorch is not installed" in done.stdout


def test_the_contract_knows_it(installed: dict[str, str]) -> None:
    (line,) = (line for block in BLOCKS for line in block.splitlines() if "pytest" in line)
    command = [sys.executable, *line.split()[1:], "-k", "registered", "-p", "no:cacheprovider"]
    env = {**os.environ, **installed, "PYTEST_ADDOPTS": "", "PYTHONSAFEPATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
