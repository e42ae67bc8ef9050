"""What padding costs: how much of the time goes into filled-up places where rows of different lengths share a batch.

Computed from latencies that were measured anyway. The batch thought of has rows of every measured length, equally many
of each, all filled up to the longest: it takes as long as a batch of the longest. Rows of one length each would have
taken the mean of the lengths' times. What is over is padding's. Runtimes compute a place whether it is masked or not,
so this is what a deployment pays that fills up its batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from optibench.results import CaseResult


def padding_share(seconds: Sequence[float]) -> float | None:
    """The share of a mixed batch's time that padding takes, from the times of batches of each length, the longest last.
    None where there is one length alone."""
    return 1 - sum(seconds) / len(seconds) / seconds[-1] if len(seconds) > 1 else None


def with_padding(results: Iterable[CaseResult]) -> list[CaseResult]:
    """The results; those of several rows at the longest length tell what share of a mixed batch would be padding."""
    results = list(results)
    times: dict[tuple[str, int], dict[int, float]] = {}
    for result in results:
        if result.latency_seconds and result.latency_seconds.p50 and result.length and result.batch > 1:
            times.setdefault((result.case, result.batch), {})[result.length] = result.latency_seconds.p50
    shown = []
    for result in results:
        mine = times.get((result.case, result.batch), {})
        if len(mine) > 1 and result.length == max(mine):
            share = padding_share([mine[length] for length in sorted(mine)])
            result = msgspec.structs.replace(result, padding_share=share)
        shown.append(result)
    return shown
