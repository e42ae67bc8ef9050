"""What stands behind the main table, as plain text cells: times, outputs, builds, the environment."""

from __future__ import annotations

from optibench.render import sentences
from optibench.render.columns import latency_of, score_with_change, shape_text
from optibench.render.units import NONE, bytes_text, listed, rate_text, seconds_text, share_text
from optibench.results import BuildSeconds, CaseResult, Comparison

TIMES = ("p90", "throughput", "load", "cold start", "first call", "rounds", "calls", "disturbed")
OUTPUTS = ("scores", "cosine", "lowest cosine", "largest difference", "same top-1")
BUILDS = ("build", "size", "artifact sha256", "operations")


def key(case: CaseResult) -> tuple[str, str]:
    """Which row it is: the case and its shape."""
    return case.case, shape_text(case)


def times(case: CaseResult) -> tuple[str, ...]:
    """The cells of TIMES."""
    bursts = case.bursts.kept + case.bursts.disturbed
    return (
        seconds_text(latency_of(case).p90),
        rate_text(case.throughput_per_second),
        seconds_text(case.load_seconds),
        seconds_text(case.cold_start_seconds),
        seconds_text(case.first_call_seconds),
        str(case.rounds),
        f"{case.samples:,}",
        share_text(case.bursts.disturbed / bursts) if bursts else NONE,
    )


def outputs(case: CaseResult) -> tuple[str, ...]:
    """The cells of OUTPUTS: how near the outputs are to the reference's."""
    scores = "; ".join(f"{score.metric} {score_with_change(score)}, {score.count:,} examples" for score in case.scores)
    parity = case.parity
    if parity is None:
        return (scores or NONE, *[NONE] * 4)
    top1 = NONE if parity.top1_agreement is None else share_text(parity.top1_agreement)
    return (
        scores or NONE,
        f"{parity.cosine:.5f}",
        f"{parity.cosine_min:.5f}",
        f"{parity.max_abs_difference:.2g}",
        top1,
    )


def build(case: CaseResult) -> tuple[str, ...]:
    """The cells of BUILDS."""
    return (
        phases(case.build_seconds),
        bytes_text(case.artifact_bytes),
        sentences.short(case.artifact_sha256) if case.artifact_sha256 else NONE,
        operations(case),
    )


def operations(case: CaseResult) -> str:
    """``36 int8, 2 fp32``: the large operations by the precision that they ran in."""
    counts = case.executed.operations if case.executed else {}
    return listed([f"{count} {precision}" for precision, count in counts.items()]) or NONE


def phases(build: BuildSeconds | None) -> str:
    """``export 6.10 s, quantize 3.20 s``, of the phases there were."""
    if build is None:
        return NONE
    all_phases = (("export", build.export), ("quantize", build.quantize), ("compile", build.compile))
    spent = listed([f"{name} {seconds_text(seconds)}" for name, seconds in all_phases if seconds])
    if build.cached:
        return f"from the cache ({spent})" if spent else "from the cache"
    return spent or NONE


def environment(comparison: Comparison) -> list[tuple[str, str]]:
    """The machine, its software and what else the figures depend on, as names and values."""
    host = comparison.host
    limits = listed([f"{name} {value}" for name, value in host.cgroup_limits.items() if value is not None])
    return [
        ("CPU", host.cpu_model),
        ("instructions", listed(host.isa) or NONE),
        ("cores used", f"{listed(host.affinity)} of {host.cores}"),
        ("limits", limits or "none"),
        ("governor", host.governor or "not known"),
        ("memory", bytes_text(host.memory_bytes)),
        ("GPUs", listed(host.gpus) or "none"),
        *([("NVIDIA driver", f"{host.nvidia.driver}, CUDA {host.nvidia.cuda}")] if host.nvidia else []),
        ("system", host.os),
        ("Python", host.python),
        *sorted(host.packages.items()),
        ("optibench", comparison.optibench_version),
        ("model revision", comparison.model.revision),
        ("weights sha256", comparison.model.weights_sha256),
        ("seed", str(comparison.workload.seed)),
        ("created", comparison.created),
    ]
