"""What differs between two machines, or two runs, in words: ``onnxruntime 1.31.0 -> 1.32.0``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optibench.values import Host, Record

MEMORY_SHARE = 0.05
"""Two machines of one kind differ by this share of memory at most (what the kernel keeps for itself)."""


def machine_changes(before: Host, after: Host) -> tuple[str, ...]:
    """What bears on a measurement and differs between two machines, software aside."""
    return tuple(_machine_changes(before, after))


def _machine_changes(before: Host, after: Host) -> Iterator[str]:
    yield from changed("processor", before.cpu_model, after.cpu_model)
    yield from instruction_changes(before.isa, after.isa)
    yield from changed("cores", before.cores, after.cores)
    yield from changed("usable cores", len(before.affinity), len(after.affinity))
    for limit in sorted(before.cgroup_limits.keys() | after.cgroup_limits.keys()):
        yield from changed(f"cgroup {limit}", before.cgroup_limits.get(limit), after.cgroup_limits.get(limit))
    yield from changed("governor", before.governor, after.governor)
    if abs(after.memory_bytes - before.memory_bytes) > MEMORY_SHARE * before.memory_bytes:
        yield f"memory {before.memory_bytes / 1e9:.1f} GB -> {after.memory_bytes / 1e9:.1f} GB"
    yield from changed("GPUs", ", ".join(before.gpus), ", ".join(after.gpus))


def instruction_changes(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """What a processor has that the other has not."""
    if gone := [flag for flag in before if flag not in after]:
        yield f"instruction sets gone: {', '.join(gone)}"
    if new := [flag for flag in after if flag not in before]:
        yield f"new instruction sets: {', '.join(new)}"


def package_changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Packages whose version differs, by name; those that one side lacks are told so."""
    return tuple(
        text
        for name in sorted(before.keys() | after.keys())
        for text in changed(name, before.get(name), after.get(name))
    )


def software_changes(before: Host, after: Host) -> tuple[str, ...]:
    """What differs of the software: the system, Python, packages."""
    return (
        *changed("system", before.os, after.os),
        *changed("Python", before.python, after.python),
        *_driver_changes(before, after),
        *package_changes(before.packages, after.packages),
    )


def _driver_changes(before: Host, after: Host) -> Iterator[str]:
    if before.nvidia and after.nvidia:  # records of before it was kept say nothing of it
        yield from changed("NVIDIA driver", before.nvidia.driver, after.nvidia.driver)


def run_changes(before: Record, after: Record) -> tuple[str, ...]:
    """All that differs between two runs of a model and bears on their figures."""
    findings = {finding.name: finding.fine for finding in before.findings}
    return (
        *changed("model", _short(before.model.revision), _short(after.model.revision)),
        *machine_changes(before.host, after.host),
        *software_changes(before.host, after.host),
        *changed("threads", before.threads, after.threads),
        *changed("tier", before.workload.tier, after.workload.tier),
        *(
            f"{finding.name}: {'mended' if finding.fine else 'no longer fine'} ({finding.found})"
            for finding in after.findings
            if finding.name in findings and findings[finding.name] != finding.fine
        ),
    )


def changed(what: str, before: object, after: object) -> Iterator[str]:
    """One thing, if it differs."""
    if before != after:
        yield f"{what} {_shown(before)} -> {_shown(after)}"


def _shown(value: object) -> str:
    return "none" if value in (None, "") else str(value)


def _short(revision: str) -> str:
    kind, _, digest = revision.rpartition(":")
    return f"{kind}:{digest[:12]}" if kind else digest[:12]
