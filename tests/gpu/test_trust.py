"""What the method claims, on a GPU: of two copies of one artifact none is ever called faster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import real
from tests.trust.conftest import Keep
from tests.trust.test_real import judged, run_of_twins

BUILDS = ("pytorch/fp32", "pytorch/bf16", "onnxruntime/fp32", "tensorrt/fp32", "tensorrt/fp16", "tensorrt/int8")
RUNS = 2


@pytest.fixture(scope="module")
def bench(folder: Path) -> real.Bench:
    return real.bench(folder, BUILDS, target="cuda")


def test_copies_of_one_artifact_are_never_called_different(bench: real.Bench, keep: Keep) -> None:
    runs = [run_of_twins(bench, seed) for seed in range(RUNS)]
    rows = [{"run": run + 1, **judged(bench, records, build)} for run, records in enumerate(runs) for build in BUILDS]
    keep(
        "twins",
        "Copies of one artifact",
        "minilm on the GPU, batch 1 x 128, all processes in turns. Faster or slower may be said of none.",
        rows,
    )
    assert [row for row in rows if row["verdict"] in ("faster", "slower")] == []
