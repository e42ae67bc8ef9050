"""Why a quantized build is slower or hardly smaller than its fp32 sibling, as far as that can be known."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from optibench.host import INT8_INSTRUCTIONS
from optibench.results import CaseResult
from optibench.values import Host

ROWS_PER_THREAD = 16
"""Fewer rows of a matrix than this for each thread, and converting activations costs more than int8 saves."""
AS_LARGE = 0.9
"""Of its sibling's bytes; a build whose weights were quantized has half at most."""


def with_notes(results: Sequence[CaseResult], host: Host) -> list[CaseResult]:
    """The results, each quantized case that is slower than its sibling with the likely reasons among its notes."""
    siblings = {(r.variant, r.target, r.backend, r.batch, r.length): r for r in results if r.precision == "fp32"}
    noted = []
    for result in results:
        sibling = siblings.get((result.variant, result.target, result.backend, result.batch, result.length))
        if sibling and result.precision.startswith("int") and _slower(result, sibling):
            why = "; ".join(reasons(result, host)) or "why is not known from what the runtime tells"
            note = f"slower than {sibling.case}: {why}"
            result = msgspec.structs.replace(result, notes=(*result.notes, note))
        if sibling and result.precision.endswith("-weights") and _as_large(result, sibling):
            note = (
                f"as large as {sibling.case}: of weights alone only those of matrix products are quantized, and this "
                "model's are elsewhere (in convolutions, say); int8 reaches these"
            )
            result = msgspec.structs.replace(result, notes=(*result.notes, note))
        noted.append(result)
    return noted


def _as_large(one: CaseResult, other: CaseResult) -> bool:
    return bool(one.artifact_bytes and other.artifact_bytes and one.artifact_bytes > AS_LARGE * other.artifact_bytes)


def _slower(one: CaseResult, other: CaseResult) -> bool:
    if not (one.speedup and other.speedup) or one is other:
        return False
    return one.speedup.high < other.speedup.low


def reasons(result: CaseResult, host: Host) -> list[str]:
    """What is known to make integer builds slow, where it holds for this one. Of the processor only where the runtime
    says that it ran there: a GPU multiplies integers whatever the processor has."""
    found = []
    executed = result.executed
    on_processor = executed is not None and "cpu" in executed.provider.lower()
    if on_processor and not set(INT8_INSTRUCTIONS) & set(host.isa):
        found.append("this processor has no integer dot product (VNNI, AMX, SDOT)")
    if executed:
        integers = sum(n for name, n in executed.operations.items() if name.startswith("int"))
        floats = sum(executed.operations.values()) - integers
        if result.precision.endswith("-weights"):
            found.append(
                "only weights are integers: they are converted back for every product, which saves memory, not time"
            )
        elif executed.precision not in ("int8", "none", "other"):
            found.append(f"{executed.precision} was executed, not int8")
        elif floats > integers:
            found.append(f"only {integers} of {integers + floats} large operations run in int8")
        leftover = int(executed.detail.get("quantize_nodes", 0))
        if integers and leftover > 3 * integers:
            found.append(
                f"{leftover} quantize and dequantize steps were not fused into the {integers} integer operations"
            )
        if executed.fallback_nodes:
            found.append(f"{executed.fallback_nodes} nodes run on another device, with copies between")
        rows = result.batch * result.length
        if on_processor and rows and rows < ROWS_PER_THREAD * max(executed.threads, 1):
            found.append(f"{rows} rows are few for {executed.threads} threads: conversions outweigh the products")
    return found
