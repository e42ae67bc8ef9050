"""A whole run of planted figures, with all that a report can show: nine builds at two shapes, scores, recipes, limits,
findings, a build that is slower than its sibling, one that failed and a target that was skipped."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from optibench import store
from optibench.comparison import comparison_from_records
from optibench.limits import MEMORY, case_of
from optibench.reported import Reported
from optibench.values import (
    Artifact,
    BuildTimes,
    Burst,
    Case,
    Executed,
    Finding,
    Gauged,
    Measurement,
    Parity,
    Record,
    Score,
    Series,
    Shape,
    Workload,
)
from tests.factories import data, host, model

SHAPES = (Shape(batch=1, length=128), Shape(batch=8, length=128))
BUILDS: dict[tuple[str, str], tuple[float, float, int]] = {
    ("pytorch", "fp32"): (1.0, 0.0, 90_900_000),
    ("pytorch", "bf16"): (1.77, 0.01, 90_900_000),
    ("onnxruntime", "fp32"): (1.40, 0.0, 91_500_000),
    ("onnxruntime", "int8-dynamic"): (2.66, 0.35, 23_500_000),
    ("onnxruntime", "int8"): (2.47, 0.3, 23_800_000),
    ("openvino", "fp32"): (1.56, 0.0, 91_100_000),
    ("openvino", "bf16"): (2.50, 0.01, 91_100_000),
    ("openvino", "int8"): (3.79, 0.1, 23_400_000),
    ("openvino", "int8-weights"): (1.33, 0.05, 23_300_000),
}
"""Speed-up, noise of the answers, bytes."""
ROUNDS = 5


def full_run() -> Reported:
    """The run, as ``optibench report`` reads it from a folder."""
    records = full_records()
    made = comparison_from_records(
        records, command="optibench compare minilm --targets cpu,cuda --batch 1,8", created="2026-10-01T03:00:00+00:00"
    )
    assert store.json_text(made)
    return Reported(comparison=made, records=records, request={"model": "minilm"})


def full_records() -> list[Record]:
    """Every record, a round after the other."""
    rng = np.random.default_rng(7)
    labels = rng.uniform(0, 10, 200)
    base = labels + rng.normal(0, 3, 200)
    found = []
    for number in range(1, ROUNDS + 1):
        for (backend, precision), (speedup, noise, size) in BUILDS.items():
            case = Case(target="cpu", backend=backend, precision=precision)
            twins = [case, msgspec.structs.replace(case, copy=1)] if (backend, precision) == REFERENCE else [case]
            for one in twins:
                answers = base + np.random.default_rng(len(precision)).normal(0, noise, 200) if noise else base
                judged = _judged(answers, labels) if number == 1 and not one.copy else {}
                found.append(
                    _record(
                        one,
                        number,
                        measurement=_measurement(rng, one, speedup),
                        artifact=_artifact(one, size),
                        **judged,
                    )
                )
    broken = Case(target="cpu", backend="onnxruntime", precision="int8-weights")
    found.append(_record(broken, 1, status="failed", reason="MatMulNBits is not there in this onnxruntime: update it"))
    for backend in ("pytorch", "tensorrt"):
        skipped = Case(target="cuda", backend=backend, precision="fp16")
        found.append(_record(skipped, 1, status="skipped", reason="no NVIDIA driver here: install one"))
    for name, per_second in (("fp32", 202e9), ("bf16", 431e9), ("int8", 1.2e12), (MEMORY, 47e9)):
        burst = Burst(block=0, wall_ns=(1_000_000,), cpu_ns=2_000_000, switches=0)
        gauged = Gauged(amount=int(per_second / 1e3), burst=burst, detail={"how": "a matrix product"})
        found.append(_record(case_of("cpu", name), 1, gauged=(gauged,)))
    return found


REFERENCE = ("pytorch", "fp32")


def _record(case: Case, number: int, **changes: Any) -> Record:
    return Record(
        **{
            "case": case,
            "model": model(),
            "workload": Workload(shapes=SHAPES),
            "round": number,
            "threads": 2,
            "status": "ok",
            "host": host(),
            "dataset": data(),
            "calibration": data(id="calibration.txt", sha256="ef" * 32, count=96),
            "findings": FINDINGS,
            "multiply_adds": {"1x128": 1_420_000_000, "8x128": 11_360_000_000},
            "multiplied_weights": 10_600_000,
            "created": f"2026-10-01T03:{number:02}:00+00:00",
            **changes,
        }
    )


FINDINGS = (
    Finding(
        name="governor",
        found="powersave",
        fine=False,
        costs="Clocks move.",
        mend="cpupower frequency-set -g performance",
    ),
    *(Finding(name=name, found="none", fine=True) for name in ("steal", "swap", "quota throttling", "load by others")),
)


def _measurement(rng: np.random.Generator, case: Case, speedup: float) -> Measurement:
    return Measurement(
        load_seconds=0.3 + 0.1 * speedup,
        cold_start_seconds=1.9 if case.backend == "pytorch" else 0.8,
        alone=True,
        executed=Executed(
            provider={"pytorch": "PyTorch eager, cpu", "openvino": "OpenVINO CPU"}.get(
                case.backend, "CPUExecutionProvider"
            ),
            precision="fp32" if case.precision.endswith("weights") else case.precision.partition("-")[0],
            threads=2,
            operations={case.precision.partition("-")[0]: 37},
        ),
        series=tuple(_series(rng, shape, 23.3e6 * shape.batch / speedup) for shape in SHAPES),
    )


def _series(rng: np.random.Generator, shape: Shape, call_ns: float) -> Series:
    bursts = []
    for block in range(25):
        calls = call_ns * np.exp(rng.normal(0, 0.01, 4)) * (1.02 if block % 7 == 0 else 1)
        wall = tuple(int(ns) for ns in calls)
        disturbed = block % 12 == 5
        bursts.append(
            Burst(
                block=block,
                wall_ns=wall,
                cpu_ns=int(sum(wall) * (1.2 if disturbed else 2)),
                switches=int(disturbed) * 90,
            )
        )
    return Series(
        shape=shape,
        first_call_seconds=0.06,
        warmup_calls=9,
        settled=True,
        peak_bytes=int(3e8 + call_ns),
        bursts=tuple(bursts),
    )


def _artifact(case: Case, size: int) -> Artifact:
    return Artifact(
        format={"openvino": "openvino", "pytorch": "pytorch"}.get(case.backend, "onnx"),
        path="model",
        sha256=f"{size:064x}",
        bytes=size,
        parent_sha256="53" * 32,
        recipe={"precision": case.precision, "calibration": {"samples": 96, "method": "minmax"}, "opset": 20},
        tools={"onnxruntime": "1.32.0", "nncf": "3.4.0"},
        build_seconds=BuildTimes(export=6.1, quantize=3.2),
    )


def _judged(answers: Any, labels: Any) -> dict[str, Any]:
    from optibench.stats import spearman

    value = float(spearman(np.array([answers]), np.array([labels]))[0])
    score = Score(
        metric="spearman", value=value, count=200, predictions=tuple(answers.tolist()), labels=tuple(labels.tolist())
    )
    parity = Parity(cosine=0.998, cosine_min=0.97, max_abs_difference=0.04, count=200)
    return {"scores": (score,), "parity": parity, "answers_sha256": "a1" * 32}
