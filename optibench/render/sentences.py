"""What a report says in words, one function a paragraph: the text report and report.md say the same.

Texts of the comparison come in as they are to be shown (render/plain.py); nothing here needs to escape.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from optibench.render.columns import primary_metric, shape_text, shown_cases
from optibench.render.units import bytes_text, counted, listed, operations_text, ratio_text, share_text
from optibench.results import CaseResult, Comparison
from optibench.stats import QUANTILE_SAMPLES
from optibench.tasks.base import has_metric, length_unit, optional_roles
from optibench.values import DataRef

QUICK = "quick: not for ranking"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Some cases that share what is said of them: ``skipped``, ``failed`` or ``note``."""

    kind: str
    cases: str
    text: str


def model_line(comparison: Comparison) -> str:
    """Which model, which revision, which task."""
    model = comparison.model
    return f"{model.id} ({short(model.revision)}) · {model.task}"


def machine_line(comparison: Comparison) -> str:
    """The machine in short; report.md has all of it."""
    host = comparison.host
    used = len(host.affinity)
    cores = counted(host.cores, "core") if used == host.cores else f"{used} of {counted(host.cores, 'core')}"
    return " · ".join((host.cpu_model, cores, f"{host.memory_bytes / 1e9:.1f} GB memory", *host.gpus))


def workload_line(comparison: Comparison) -> str:
    """What every case was asked to do, and how often it was started afresh."""
    workload = comparison.workload
    rounds = sorted({case.rounds for case in comparison.cases if case.rounds}) or [workload.rounds]
    number = f"{rounds[0]}" if len(rounds) == 1 else f"{rounds[0]}–{rounds[-1]}"
    parts = [f"batch {listed(workload.batches)}"]
    new_tokens = sorted({case.new_tokens for case in comparison.cases if case.new_tokens})
    if new_tokens:
        parts.append(f"prompts of {listed(workload.lengths)} · {listed(new_tokens)} new tokens")
    elif any(workload.lengths):
        samples = " samples" if length_unit(comparison.model.task) == "samples" else ""
        parts.append(f"length {listed(workload.lengths)}{samples}")
    parts.append(f"{number} round{'' if number == '1' else 's'}")
    return " · ".join([*parts, QUICK] if workload.tier == "quick" else parts)


def distrust(comparison: Comparison) -> str | None:
    """Why no number here can be trusted, if the A/A check failed."""
    ratio = comparison.noise.aa_ratio
    if ratio is None or ratio.low <= 1 <= ratio.high:
        return None
    return (
        "DO NOT TRUST THESE NUMBERS: the A/A check failed. The reference measured against its own twin gave "
        f"{ratio.mid:.3f}× ({ratio.low:.3f}–{ratio.high:.3f}), an interval that must hold 1. Something other than the "
        "builds made a difference of that size. Stop what else runs on this machine and run again."
    )


def advice(comparison: Comparison) -> str:
    """The recommended case in one sentence, or why there is none."""
    recommended = comparison.recommended
    if recommended is None:
        return f"No case is recommended: {comparison.recommended_reason or 'no reason was recorded'}"
    named = recommended.case in recommended.sentence
    return f"Recommended: {recommended.sentence if named else f'{recommended.case}. {recommended.sentence}'}"


def legend(comparison: Comparison) -> list[str]:
    """How to read the table: only what stands in it."""
    cases = shown_cases(comparison)
    if not cases:
        return []
    over = f"over {comparison.reference}" if comparison.reference else "over the reference"
    lines = [f"Speedup {over} with its 95% interval; memory is the process's peak."]
    lines += generations(cases)
    if metric := primary_metric(comparison):
        lines.append(f"After each {metric} its change against the reference's with its 95% interval.")
    elif any(case.parity for case in cases):
        lines.append("Cosine: how near the outputs are to the reference's (1: the same), a mean over the examples.")
    measured = [case.latency_seconds for case in cases if case.latency_seconds]
    if any(latency.p99 is None for latency in measured):
        lines.append(f"No p99 where there were fewer than {QUANTILE_SAMPLES[0.99]} undisturbed calls.")
    if any(case.within_floor is False for case in cases):
        floor = f"{comparison.workload.accuracy_floor * 100:.4g}%"
        lines.append(f"Below floor: under {floor} of the reference's score; never recommended.")
    return [*lines, *limits(comparison), *devices(comparison)]


def generations(cases: list[CaseResult]) -> list[str]:
    """What the columns of generated text mean, and where a build's text parts from the reference's."""
    if not any(case.phase for case in cases):
        return []
    lines = [
        "TTFT: time to the first token, a prompt's whole prefill. TPOT: time of each token after it.",
        "Tokens/s: those of all rows, over TTFT and the TPOT of all others. The verdict is decode's.",
    ]
    if any(case.bandwidth_share for case in cases):
        lines.append(
            "% of bandwidth: weights and KV cache that a token reads, over its time, of what the memory reached."
        )
    compared = {case.case: case.agreement for case in cases if case.agreement}
    same = [name for name, found in compared.items() if not found.parts]
    if same:
        prompts = counted(next(iter(compared.values())).prompts, "prompt")
        lines.append(f"Greedy decoding makes the reference's tokens, each one, of all {prompts}: {listed(same)}.")
    for name, found in compared.items():
        if found.parts:
            prompt, token = min(found.parts, key=lambda part: (part[1], part[0]))
            lines.append(
                f"{name} parts from the reference's text in {len(found.parts)} of {counted(found.prompts, 'prompt')}, "
                f"first at token {token} of prompt {prompt}."
            )
    return lines


def limits(comparison: Comparison) -> list[str]:
    """What "% of peak" is of, where memory is the lower limit, and why there is no share."""
    lines = []
    for target, found in comparison.limits.items():
        rates = [f"{name} {operations_text(rate)}" for name, rate in found.operations_per_second.items()]
        if found.memory_bytes_per_second:
            rates.append(f"memory {bytes_text(found.memory_bytes_per_second)}/s")
        if rates:
            lines.append(f"% of peak: of the most that {target} reached in the precision executed ({listed(rates)}).")
        if sheets := sorted(set(found.published.values())):
            lines.append(f"Published, not measured, of {target}: {listed(list(found.published))} ({listed(sheets)}).")
        lines += [f"Not known of {target}: {name} ({reason})." for name, reason in found.missing.items()]
    if any(case.peak_share == 1 for case in comparison.cases):
        lines.append("100%: this case was faster than the matrix product, so the limit is what it reached itself.")
    if bound := [case for case in comparison.cases if case.limit == "memory"]:
        lines.append(f"Reading the weights limits more than computing with them: {_names(comparison, bound)}.")
    return lines


def devices(comparison: Comparison) -> list[str]:
    """Which GPU each target's cases ran on, and what the columns about it mean."""
    lines = []
    for target, gpu in comparison.gpus.items():
        driver = comparison.host.nvidia.driver if comparison.host.nvidia else "unknown"
        lines.append(
            f"{target} ran on GPU {gpu.number}: {gpu.name} ({gpu.uuid}), compute capability {gpu.compute_capability}, "
            f"driver {driver}."
        )
    if any(case.device_seconds is not None for case in comparison.cases):
        lines.append("On device: a call by the device's own events; p50 is what the host waits for.")
    if any(case.energy_joules_per_call is not None for case in comparison.cases):
        lines.append("Energy a call: of the whole GPU, by its counter, over a second or more of calls in a row.")
    return lines


def noise(comparison: Comparison) -> str:
    """What can be told apart here, and how much was disturbed."""
    measured = comparison.noise
    share = f"{share_text(measured.disturbed_share)} of bursts were disturbed by other work and left out."
    if measured.aa_ratio is None or measured.floor is None:
        return f"Noise floor unknown: the reference had no two rounds beside its twin (no A/A check). {share}"
    unsettled = "" if measured.settled else " Some processes were timed before their warm-up had settled."
    return (
        f"Noise floor ±{share_text(measured.floor)}: smaller differences cannot be told apart here "
        f"(A/A {ratio_text(measured.aa_ratio)}).{unsettled} {share}"
    )


def accuracy(comparison: Comparison) -> list[str]:
    """What data judged accuracy and what calibrated; what to type where it was not measured."""
    workload = comparison.workload
    calibrated = f"Calibrated with {_data(workload.calibration)}." if workload.calibration else None
    if metric := primary_metric(comparison):
        on = f" on {_data(workload.dataset)}" if workload.dataset else ""
        count = next(score.count for case in comparison.cases for score in case.scores)
        # A text without a word to mask makes nothing, a long one several windows, a query's documents one list.
        makes = f", which make {count:,} to score" if workload.dataset and workload.dataset.count != count else ""
        judged = f"Accuracy is {metric}{on}{makes}."
    elif comparison.model.task == "graph":
        judged = (
            "Accuracy was not measured: what this graph is for is not known. Put its tokenizer or processor beside it, "
            "and give --task and --dataset."
        )
    elif not has_metric(comparison.model.task):
        judged = f"{comparison.model.task} has no accuracy to measure: outputs are compared with the reference's."
    elif workload.dataset:
        judged = f"Accuracy was not measured: no case has a score on {_data(workload.dataset)}."
        if any(case.parity for case in comparison.cases) and (roles := optional_roles(comparison.model.task)):
            judged += (
                f" The data lack what could judge it ({', '.join(roles)}): "
                f"say which column holds it with --columns {roles[-1]}=NAME, or give other data."
            )
    else:
        model = shlex.quote(comparison.model.id)
        judged = (
            "Accuracy was not measured, for want of labelled data. Type: "
            f"optibench compare {model} --dataset FILE_OR_HUB_ID --columns role=name"
        )
    return [judged, calibrated] if calibrated else [judged]


def left_out(comparison: Comparison) -> list[Group]:
    """Skipped and failed cases by reason: a target that is left out whole for one reason is one line."""
    groups: dict[tuple[str, str], list[CaseResult]] = {}
    for case in comparison.cases:
        if case.status != "ok":
            groups.setdefault((case.status, case.reason or "no reason was recorded"), []).append(case)
    return [
        Group(kind=kind, cases=_names(comparison, cases), text=reason)
        for (kind, reason), cases in sorted(groups.items(), key=lambda item: item[0][0] != "skipped")
    ]


def notes(comparison: Comparison) -> list[Group]:
    """What is to be known of single cases: why int8 is slower here, and the like."""
    groups: dict[str, list[CaseResult]] = {}
    for case in comparison.cases:
        for note in case.notes:
            groups.setdefault(note, []).append(case)
    return [Group(kind="note", cases=_names(comparison, cases), text=note) for note, cases in groups.items()]


def short(digest: str) -> str:
    """A digest or commit as far as it is needed to tell it apart; other revisions as they are."""
    bare = digest.removeprefix("sha256:")
    return bare[:12] if len(bare) >= 40 else digest


def _data(data: DataRef) -> str:
    return f"{data.id}, {counted(data.count, 'example')} (sha256 {short(data.sha256)})"


def _names(comparison: Comparison, cases: list[CaseResult]) -> str:
    """Whole targets by their name; a case by its own, with its shape if its other shapes fared otherwise."""
    mine = {(case.case, shape_text(case)) for case in cases}
    named: dict[str, None] = {}  # a set that keeps its order
    for case in cases:
        target = {(c.case, shape_text(c)) for c in comparison.cases if c.target == case.target}
        shapes = {pair for pair in target if pair[0] == case.case}
        if target <= mine and len({name for name, _ in target}) > 1:
            named[f"{case.target} ({counted(len({name for name, _ in target}), 'case')})"] = None
        elif shapes <= mine:
            named[case.case] = None
        else:
            named[f"{case.case} at {shape_text(case)}"] = None
    return ", ".join(named)
