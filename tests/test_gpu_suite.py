"""The suite for machines with a card, on one without: it fails and says so, and its page is made from any run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from optibench import api
from optibench.execute import inline
from optibench.host import describe
from optibench.plan import Request
from tests.gpu import page

ROOT = Path(__file__).parent.parent
CARDS = [name for name in describe().gpus if not name.startswith("Intel")]


def pytest_on(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(bool(CARDS), reason="there is a card here")
def test_without_a_card_the_suite_fails_and_says_so() -> None:
    done = pytest_on("tests/gpu")
    assert done.returncode == 3, done.stdout
    assert "tests/gpu need a machine with an NVIDIA GPU: " in done.stdout
    assert "passed" not in done.stdout


def test_every_test_of_it_can_be_collected_and_none_is_in_the_ordinary_ones() -> None:
    asked = pytest_on("tests/gpu", "--collect-only").stdout
    for name in ("tensorrt-fp8", "tensorrt-rtx-int8", "onnxruntime-fp32", "pytorch-tf32", "never_called_different"):
        assert name in asked
    usual = pytest_on("--collect-only").stdout
    assert "tests/test_gpu_suite.py" in usual
    assert "tests/gpu/test_" not in usual


def test_the_page_tells_the_machine_and_the_versions_of_the_runs_records(
    tiny_bert: Path, fake_target: Callable[..., Path], tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    request = Request(
        model=str(tiny_bert), targets=("pretend",), targets_dir=str(fake_target()), lengths=(16,), rounds=2
    )
    page.keep(api.run(request, out=tmp_path / "run", command="optibench compare x", launch=inline.launch), tmp_path)
    text = page.written(tmp_path).read_text()
    assert "pretend/fake/int8" in text
    assert "numpy " in text
    assert (CARDS[0] if CARDS else "no GPU") in text
    assert (tmp_path / page.RUN / "records.jsonl").is_file()
