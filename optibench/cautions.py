"""What makes a run's figures doubtful, in sentences, from its records: shown on every report (docs/method.md)."""

from __future__ import annotations

from collections.abc import Sequence

from optibench import health, roofline, stats
from optibench.progress import duration
from optibench.results import CaseResult, Noise
from optibench.samples import Samples, builds
from optibench.values import Record

DISTURBED_WARNING = 0.2
SLOW_WARNING = 0.2
VARIATION_WARNING = 0.10
GPU_VARIATION_WARNING = 0.025
IDLE_WARNING = 0.05


def told(
    everything: Sequence[Record], samples: Samples, results: Sequence[CaseResult], noise: Noise, done: int
) -> list[str]:
    """What a reader must know of the run in ``everything`` (its builds and the machine's limits), ``done`` rounds of
    which measured something."""
    records = builds(everything)
    found = _too_short(records, done)
    if noise.aa_ratio and not noise.aa_ratio.low <= 1.0 <= noise.aa_ratio.high:
        found.append(
            f"The A/A check failed: the reference differs from its own twin by {abs(noise.aa_ratio.mid - 1):.1%}. "
            "Differences of that size mean nothing in this run; measure again on a quieter machine."
        )
    if noise.disturbed_share > DISTURBED_WARNING:
        found.append(
            f"{noise.disturbed_share:.0%} of the bursts were disturbed by other load and left out. "
            "A quieter machine needs fewer rounds."
        )
    if noise.slow_share > SLOW_WARNING:
        found.append(
            f"The whole machine was slow in {noise.slow_share:.0%} of the blocks though no CPU time was lost: its host "
            "shares the cores, or the clock was lower. Those blocks are left out of a case that has enough others."
        )
    on_gpu = {r.case for r in records if r.gpu}
    for case in dict.fromkeys(r.case for r in records if not r.case.copy):
        usual = GPU_VARIATION_WARNING if case in on_gpu else VARIATION_WARNING
        for shape in records[-1].workload.shapes:
            rounds = samples.of(case, shape)
            bursts = [b for s in rounds.values() for b in s.bursts]
            keeps = [k for s in rounds.values() for k in s.kept]
            variation = stats.variation(bursts, keeps)
            if variation > usual:
                found.append(
                    f"{case.name} at {shape.name} varies by {variation:.0%} within its bursts "
                    f"(usual: under {usual * 100:g}%)."
                )
            idle = sum(b.idle_wall_ns for b in bursts)
            burnt = sum(b.idle_cpu_ns for b in bursts) / idle if idle else 0.0
            if burnt > IDLE_WARNING:
                found.append(
                    f"{case.name} burnt {burnt:.0%} of a core while it waited for its turn: its threads spin, "
                    "and the others' figures suffer from it."
                )
    for result in results:
        if result.executed and result.executed.fallback_nodes:
            found.append(
                f"{result.case}: {result.executed.fallback_nodes} nodes do not run on {result.executed.provider}."
            )
    disturbed = roofline.disturbed_peaks(everything)
    for target in dict.fromkeys(target for target, _ in disturbed):
        shares = ", ".join(f"{name} {share:.0%}" for (of, name), share in disturbed.items() if of == target)
        found.append(
            f"Others used the cores while peaks of {target} were measured (of its CPU time each had: {shares}): they "
            "are too low, and the share of them that each case reaches is too high."
        )
    found += health.warnings(records)
    without = [r.case for r in results if r.status == "ok" and r.bursts.disturbed and not r.bursts.kept]
    if without:
        found.append(
            f"No latency of {', '.join(dict.fromkeys(without))}: others used the cores in every block of it. "
            "Measure again on a quieter machine (--wait-quiet 5m waits for one), or longer (--budget)."
        )
    others = [r for r in results if r.status == "ok" and r.case not in without]
    busy = [r.case for r in others if r.verdict_reason == "machine busy"]
    if busy:
        least = samples.least
        found.append(
            f"No verdict for {', '.join(dict.fromkeys(busy))}: the machine was busy, and fewer than {least} rounds had "
            "enough undisturbed blocks. A round without them does not count, and is repeated while the budget lasts."
        )
    return list(dict.fromkeys(found))


def _too_short(records: Sequence[Record], rounds: int) -> list[str]:
    """A run that was to be an official one, and had no time for it."""
    asked = records[-1].workload
    if asked.tier == "quick" or not 0 < rounds < min(asked.rounds, stats.LEAST_ROUNDS):
        return []
    text = (
        f"Only {rounds} of {asked.rounds} rounds fitted in the budget of {duration(asked.budget_seconds)}, so the run "
        "is marked quick, not for ranking. Give it more time (--budget), fewer cases, or a quieter machine."
    )
    return [text]
