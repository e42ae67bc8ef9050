"""Small true-to-life values for tests: each call names only what its test is about."""

from __future__ import annotations

from typing import Any

from optibench.baseline import Baseline, CaseFigures, Hardware, ShapeFigures, packed
from optibench.results import (
    BuildSeconds,
    BurstCount,
    CaseResult,
    Comparison,
    Interval,
    Latency,
    Noise,
    Recommended,
    ScoreResult,
    WorkloadResult,
)
from optibench.values import (
    Artifact,
    Burst,
    Case,
    DataRef,
    Executed,
    Host,
    Measurement,
    ModelRef,
    Parity,
    Record,
    Series,
    Shape,
    Workload,
)

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
REFERENCE = "cpu/pytorch/fp32"
LOGS = (-0.70, -0.69, -0.71, -0.70, -0.695)
"""Log ratios to the reference of five quiet rounds: about twice as fast."""


def model(**changes: Any) -> ModelRef:
    return ModelRef(
        **{
            "id": "minilm",
            "revision": f"sha256:{SHA256}",
            "task": "sentence-similarity",
            "source": "package",
            "weights_sha256": SHA256,
            **changes,
        }
    )


def host(**changes: Any) -> Host:
    return Host(
        **{
            "cpu_model": "Intel(R) Xeon(R) Platinum 8481C",
            "isa": ("avx2", "avx512f", "avx512_vnni"),
            "cores": 4,
            "affinity": (0, 1),
            "cgroup_limits": {"cpu": 2.0, "memory": None},
            "governor": None,
            "memory_bytes": 8_300_000_000,
            "gpus": (),
            "os": "Linux 6.1",
            "python": "3.11.9",
            "packages": {"onnxruntime": "1.32.0", "huggingface_hub": "2.4.0"},
            **changes,
        }
    )


def data(**changes: Any) -> DataRef:
    return DataRef(**{"id": "wordsim353.tsv", "sha256": "ab" * 32, "count": 265, **changes})


def interval(mid: float, half: float = 0.03) -> Interval:
    return Interval(low=mid - half, mid=mid, high=mid + half)


def score(value: float = 0.725, reference: float = 0.729, metric: str = "spearman") -> ScoreResult:
    return ScoreResult(
        metric=metric, value=value, reference=reference, count=265, change=interval(value - reference, 0.006)
    )


def case(name: str = "cpu/onnxruntime/int8-dynamic", **changes: Any) -> CaseResult:
    """A case that ran well; ``status`` skipped or failed gives one without any number."""
    target, backend, precision = name.split("/")
    common = {
        "case": name,
        "target": target,
        "backend": backend,
        "precision": precision,
        "batch": 1,
        "length": 128,
        "status": "ok",
    }
    if changes.get("status", "ok") != "ok":
        return CaseResult(**{**common, **changes})
    measured = {
        "latency_seconds": Latency(p50=0.0123, p90=0.0131, p99=None),
        "samples": 500,
        "rounds": 5,
        "bursts": BurstCount(kept=120, disturbed=5),
        "speedup": interval(2.41),
        "verdict": "faster",
        "throughput_per_second": 81.3,
        "cold_start_seconds": 1.24,
        "load_seconds": 0.31,
        "first_call_seconds": 0.02,
        "build_seconds": BuildSeconds(export=6.1, quantize=3.2, compile=0.0, cached=False),
        "peak_memory_bytes": 212_000_000,
        "artifact_bytes": 23_100_000,
        "artifact_sha256": "cd" * 32,
        "executed": Executed(provider="CPUExecutionProvider", precision="int8", threads=2, operations={"int8": 36}),
        "scores": (score(),),
        "parity": Parity(cosine=0.9921, cosine_min=0.97, max_abs_difference=0.041, count=265),
        "within_floor": True,
    }
    return CaseResult(**{**common, **measured, **changes})


def reference(**changes: Any) -> CaseResult:
    return case(
        REFERENCE,
        **{
            "verdict": "reference",
            "speedup": interval(1, 0),
            "scores": (score(0.729),),
            "latency_seconds": Latency(p50=0.0297, p90=0.0301, p99=None),
            "executed": Executed(provider="torch cpu", precision="fp32", threads=2),
            **changes,
        },
    )


def comparison(**changes: Any) -> Comparison:
    """Two cases that ran: the reference and a faster one, which is recommended."""
    cases = changes.pop("cases", (reference(), case()))
    workload = {
        "batches": tuple(sorted({c.batch for c in cases})),
        "lengths": tuple(sorted({c.length for c in cases})),
        "dataset": data(),
        "calibration": data(sha256="ef" * 32, count=88),
        "seed": 0,
        "rounds": 5,
        "tier": "official",
        "accuracy_floor": 0.99,
        **changes.pop("workload", {}),
    }
    return Comparison(
        **{
            "optibench_version": "0.1.0",
            "created": "2026-11-24T10:00:00+00:00",
            "command": "optibench compare minilm --targets cpu",
            "model": model(),
            "workload": WorkloadResult(**workload),
            "host": host(),
            "noise": Noise(aa_ratio=interval(1.002, 0.011), floor=0.011, settled=True, disturbed_share=0.04),
            "warnings": (),
            "recommended": Recommended(
                case="cpu/onnxruntime/int8-dynamic",
                sentence="cpu/onnxruntime/int8-dynamic is 2.41× as fast as PyTorch fp32 and keeps the accuracy.",
            ),
            "reference": REFERENCE,
            "cases": cases,
            **changes,
        }
    )


def record(**changes: Any) -> Record:
    """The record of a job that ran well: two bursts at one shape."""
    shape = Shape(batch=1, length=128)
    burst: dict[str, Any] = {"wall_ns": (12_000_000, 12_100_000), "cpu_ns": 48_000_000, "switches": 1}
    return Record(
        **{
            "case": Case(target="cpu", backend="onnxruntime", precision="int8-dynamic"),
            "model": model(),
            "workload": Workload(shapes=(shape,)),
            "round": 0,
            "threads": 2,
            "status": "ok",
            "host": host(),
            "artifact": Artifact(format="onnx", path="model.onnx", sha256="cd" * 32, bytes=23_100_000),
            "measurement": measurement(
                Series(
                    shape=shape,
                    first_call_seconds=0.02,
                    warmup_calls=10,
                    settled=True,
                    peak_bytes=212_000_000,
                    bursts=(Burst(block=0, **burst), Burst(block=1, **burst)),
                )
            ),
            "dataset": data(),
            **changes,
        }
    )


def measurement(*series: Series, **changes: Any) -> Measurement:
    return Measurement(
        **{
            "load_seconds": 0.31,
            "cold_start_seconds": 1.24,
            "alone": True,
            "executed": Executed(provider="CPUExecutionProvider", precision="int8", threads=2),
            "series": series,
            **changes,
        }
    )


def figures(name: str = "cpu/onnxruntime/int8", logs: tuple[float, ...] = LOGS, **changes: Any) -> CaseFigures:
    """A case of a baseline: five rounds at one shape, right in nine of ten of a thousand examples."""
    peaks = changes.pop("peak_bytes", (100_000_000, 100_300_000, 99_800_000))
    at = changes.pop("shape", Shape(batch=1, length=128))
    outcomes = changes.pop("right", 900)
    return CaseFigures(
        **{
            "case": name,
            "artifact_bytes": 23_000_000,
            "scores": {"accuracy": outcomes / 1000},
            "outcomes": packed([1.0] * outcomes + [0.0] * (1000 - outcomes)),
            "shapes": (ShapeFigures(shape=at, speedup=2.0, p50_seconds=0.01, log_ratios=logs, peak_bytes=peaks),),
            **changes,
        }
    )


def baseline(*cases: CaseFigures, **changes: Any) -> Baseline:
    """A text classifier's run in short: the reference, and the cases given (one, if none is)."""
    return Baseline(
        **{
            "optibench_version": "0.1.0",
            "created": "2026-11-24T10:00:00+00:00",
            "model": model(task="text-classification"),
            "shapes": (Shape(batch=1, length=128),),
            "dataset": data(count=1000),
            "calibration": data(sha256="ef" * 32, count=88),
            "seed": 0,
            "tier": "official",
            "accuracy_floor": 0.9,
            "hardware": Hardware(cpu_model="Intel Xeon", isa=("avx2", "avx512f"), cores_used=2, gpus=()),
            "packages": {"torch": "2.13.0", "onnxruntime": "1.32.0"},
            "reference_runtime": {"torch": "2.13.0"},
            "reference": REFERENCE,
            "labels": packed([1.0] * 1000),
            "cases": (figures(REFERENCE, ()), *(cases or (figures(),))),
            **changes,
        }
    )
