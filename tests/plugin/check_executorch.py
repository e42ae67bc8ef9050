"""docs/add-a-backend.md, from its first command to its last, with ExecuTorch itself: ``tox run -e plugin``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_add_a_backend import BLOCKS, ROOT, TARGET


@pytest.fixture
def work(tmp_path: Path, tiny_bert: Path) -> Path:
    """Where the page's reader works: a model, and the page's target."""
    (tmp_path / "model").symlink_to(tiny_bert)
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "small-cpu.toml").write_text(TARGET)
    return tmp_path


def test_the_pages_commands_run(work: Path, cache_root: Path) -> None:
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "OPTIBENCH_CACHE": str(cache_root),
        "OPTIBENCH_TEST_CACHE": str(cache_root),
        "COLUMNS": "160",
    }
    for line in (line for block in BLOCKS for line in block.splitlines()):
        here = work if line.startswith("optibench compare") else ROOT  # the others are typed in the clone
        done = subprocess.run(["bash", "-c", line], cwd=here, env=env, capture_output=True, text=True)
        print(line, done.stdout, sep="\n")
        assert done.returncode == 0, (line, done.stdout[-3000:], done.stderr[-3000:])
        if line == "optibench backends":
            assert any(row.split()[:2] == ["executorch", "yes"] for row in done.stdout.splitlines())
    for run in (work / "optibench-runs").iterdir():
        found = {case["case"]: case for case in json.loads((run / "comparison.json").read_text())["cases"]}
        mine = {name: case for name, case in found.items() if "executorch" in name}
        assert [case["status"] for case in mine.values()] == ["ok"], mine
        for name, case in mine.items():
            assert case["executed"]["precision"] == name.rpartition("/")[2]
            assert case["executed"]["provider"] == "ExecuTorch XNNPACK"
            assert case["parity"]["cosine_min"] > 0.9999
            assert case["latency_seconds"]["p50"] > 0
