"""report.md: the text report's content and all that is worth keeping beside it, in tables that GitHub renders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from optibench.render import sentences
from optibench.render.columns import columns, latency_of, score_with_change, shape_text, shown_cases
from optibench.render.plain import markdown_plain, plain, with_text
from optibench.render.units import NONE, bytes_text, listed, rate_text, seconds_text, share_text
from optibench.results import BuildSeconds, CaseResult, Comparison


def render(comparison: Comparison) -> str:
    """The report as GitHub-flavoured Markdown. Texts in it are escaped, so that none is taken for markup."""
    shown = with_text(comparison, markdown_plain)
    parts = [
        *_top(shown),
        *_main_table(shown),
        "\n".join(f"- {line}" for line in _basis(shown)),
        *_groups(shown),
        *_details(shown),
        "## Environment",
        table(("", ""), _environment(shown)),
        "## Command",
        _code(plain(comparison.command)),
    ]
    return "\n\n".join(parts) + "\n"


def _top(comparison: Comparison) -> Iterable[str]:
    reason = sentences.distrust(comparison)
    if reason:
        yield f"> [!CAUTION]\n> **{reason}**"
    yield f"# {sentences.model_line(comparison)}"
    yield f"{sentences.machine_line(comparison)}\\\n{sentences.workload_line(comparison)}"
    yield f"**{sentences.advice(comparison)}**"


def _main_table(comparison: Comparison) -> Iterable[str]:
    if not shown_cases(comparison):
        return
    shown = columns(comparison)
    rows = zip(*(column.cells for column in shown), strict=True)
    yield table([column.title for column in shown], rows, right=[column.right for column in shown])


def _basis(comparison: Comparison) -> list[str]:
    return [
        *sentences.legend(comparison),
        sentences.noise(comparison),
        *sentences.accuracy(comparison),
    ]


def _groups(comparison: Comparison) -> Iterable[str]:
    left_out = sentences.left_out(comparison)
    for kind, title in (("skipped", "Skipped"), ("failed", "Failed")):
        if rows := [(group.cases, group.text) for group in left_out if group.kind == kind]:
            yield f"## {title}"
            yield table(("case", "reason"), rows)
    if notes := sentences.notes(comparison):
        yield "## Notes"
        yield table(("case", "note"), [(group.cases, group.text) for group in notes])
    if comparison.warnings:
        yield "## Warnings"
        yield "\n".join(f"- {warning}" for warning in comparison.warnings)


def _details(comparison: Comparison) -> Iterable[str]:
    """All that was measured of each case, in three tables: times, outputs, builds."""
    cases = [case for case in comparison.cases if case.status == "ok"]
    if not cases:
        return
    yield "## Times"
    yield table(
        ("case", "shape", "p90", "throughput", "load", "cold start", "first call", "rounds", "calls", "disturbed"),
        [(*_key(case), *_times(case)) for case in cases],
        right=[False, *[True] * 9],
    )
    if rows := [(*_key(case), *_outputs(case)) for case in cases if case.parity or case.scores]:
        yield "## Outputs against the reference's"
        yield table(
            ("case", "shape", "scores", "cosine", "lowest cosine", "largest difference", "same top-1"),
            rows,
            right=[False, True, False, *[True] * 4],
        )
    yield "## Builds and what ran"
    yield table(
        ("case", "build", "size", "artifact sha256", "operations"),
        {case.case: (case.case, *_build(case)) for case in cases}.values(),
    )


def _key(case: CaseResult) -> tuple[str, str]:
    return case.case, shape_text(case)


def _times(case: CaseResult) -> tuple[str, ...]:
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


def _outputs(case: CaseResult) -> tuple[str, ...]:
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


def _build(case: CaseResult) -> tuple[str, ...]:
    operations = case.executed.operations if case.executed else {}
    return (
        _phases(case.build_seconds),
        bytes_text(case.artifact_bytes),
        sentences.short(case.artifact_sha256) if case.artifact_sha256 else NONE,
        listed([f"{count} {precision}" for precision, count in operations.items()]) or NONE,
    )


def _phases(build: BuildSeconds | None) -> str:
    """``export 6.10 s, quantize 3.20 s``, of the phases there were."""
    if build is None:
        return NONE
    phases = (("export", build.export), ("quantize", build.quantize), ("compile", build.compile))
    spent = listed([f"{name} {seconds_text(seconds)}" for name, seconds in phases if seconds])
    if build.cached:
        return f"from the cache ({spent})" if spent else "from the cache"
    return spent or NONE


def _environment(comparison: Comparison) -> list[tuple[str, str]]:
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


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[bool] = ()) -> str:
    """A Markdown table; cells are escaped already."""
    aligned = right or [False] * len(titles)
    lines = [titles, ["---:" if to_right else "---" for to_right in aligned], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """A block of code, fenced by more backticks than the text has in a row."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}sh\n{text}\n{fence}"
