"""A whole generation, from its two phases: pure functions of results.

The terms are those of MLPerf Inference and vLLM: time to first token (TTFT), time per output token after the first
(TPOT), and tokens a second over both (docs/generation.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from optibench.results import CaseResult, Generation


def with_generations(results: Sequence[CaseResult], reference: str | None) -> list[CaseResult]:
    """The results, each decode's with its whole generation; as they are where a phase was not measured."""
    prefills = {(r.case, r.batch, r.length): r for r in results if r.phase == "prefill"}
    found = []
    for result in results:
        prefill = prefills.get((result.case, result.batch, result.length))
        made = generation(prefill, result) if prefill and result.phase == "decode" else None
        found.append(msgspec.structs.replace(result, generation=made) if made else result)
    base = {(r.batch, r.length): r.generation.seconds for r in found if r.case == reference and r.generation}
    return [_over(result, base.get((result.batch, result.length))) for result in found]


def generation(prefill: CaseResult, decode: CaseResult) -> Generation | None:
    """Both phases together; None where one has no median."""
    first = prefill.latency_seconds.p50 if prefill.latency_seconds else None
    token = decode.latency_seconds.p50 if decode.latency_seconds else None
    if not first or not token:
        return None
    seconds = first + (decode.new_tokens - 1) * token  # the first of the new tokens is prefill's
    return Generation(
        first_token_seconds=first,
        token_seconds=token,
        seconds=seconds,
        tokens_per_second=decode.batch * decode.new_tokens / seconds,
    )


def _over(result: CaseResult, reference_seconds: float | None) -> CaseResult:
    if result.generation is None or reference_seconds is None:
        return result
    speedup = reference_seconds / result.generation.seconds
    return msgspec.structs.replace(result, generation=msgspec.structs.replace(result.generation, speedup=speedup))
