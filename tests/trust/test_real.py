"""What holds on real runtimes: ``tox -e trust -- -k real`` on a machine that is otherwise quiet (half an hour).

Several pairs of twins (one artifact under two names) live in each round, so each run makes as many comparisons.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import comparison, stats
from optibench.samples import Samples
from optibench.values import Record
from tests.trust import real
from tests.trust.conftest import Keep

BUILDS = ("onnxruntime/fp32", "onnxruntime/int8", "openvino/fp32", "openvino/bf16", "openvino/int8")
KINDS = ("quiet", "neighbour")
RUNS = 2
"""Runs of each kind: ten comparisons."""
RUN_SECONDS = 300.0
"""A run's budget, as a user's run has it."""
SIDE_BY_SIDE_ROUNDS = 10
BARE_BLOCKS = 240

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def bench(folder: Path) -> real.Bench:
    return real.bench(folder, BUILDS)


def run_of_twins(bench: real.Bench, seed: int) -> list[Record]:
    """Rounds of every build and its twin until all twins are decided and all speed-ups precise, or the budget is used
    up: as a run goes on."""
    cases = [bench.case(build, again) for build in bench.artifacts for again in (False, True)]
    records: list[Record] = []
    start = time.monotonic()
    for number in range(1, bench.workload.max_rounds + 1):
        records += bench.round(cases, number, seed)
        said = [judged(bench, records, build)["verdict"] for build in bench.artifacts]
        print(f"run {seed} round {number}: {said}", flush=True)
        spent = time.monotonic() - start
        done = "unknown" not in said and all(precise(records, build) for build in BUILDS[1:])
        if number >= bench.workload.rounds and (done or spent * (1 + 1 / number) > RUN_SECONDS):
            break
    return records


def precise(records: list[Record], build: str) -> bool:
    """Whether its speed-up over the first build is as well known as a run wants it (comparison.imprecise)."""
    samples, pair, shape = Samples(records), (real.case(build), real.case(BUILDS[0])), records[-1].workload.shapes[0]
    return stats.half_width(samples.round_values(*pair, shape)) <= comparison.PRECISE and not samples.mixed(
        *pair, shape
    )


def judged(bench: real.Bench, records: list[Record], build: str) -> dict[str, Any]:
    """A build against its twin."""
    values = bench.values(records, bench.case(build, again=True), bench.case(build))
    interval, verdict = comparison.judged(values, bench.workload.rounds)
    ratio = f"{interval.mid:.3f} ({interval.low:.3f} to {interval.high:.3f})" if interval else "none"
    spread = f"{np.std(values, ddof=1):.1%}" if len(values) > 1 else ""
    return {"twins": build, "rounds": len(values), "ratio": ratio, "spread": spread, "verdict": verdict}


def speed_ups(bench: real.Bench, records: list[Record]) -> dict[str, tuple[float, float]]:
    """Each build's speed-up over the first, and the half-width of its 95% interval in logs, from every round."""
    found = {}
    for build in BUILDS[1:]:
        values = bench.values(records, real.case(build), real.case(BUILDS[0]))
        assert len(values) > 2, (
            f"{build}: hardly a round had enough undisturbed bursts; the machine is too busy for this"
        )
        found[build] = math.exp(-stats.mean_interval(values)[1]), stats.half_width(values)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_one_artifact_are_never_called_different(bench: real.Bench, kind: str, keep: Keep) -> None:
    with real.neighbour() if kind == "neighbour" else nullcontext():
        runs = [run_of_twins(bench, seed) for seed in range(RUNS)]
    rows = [{"run": run + 1, **judged(bench, records, build)} for run, records in enumerate(runs) for build in BUILDS]
    sampled = [(Samples(records), {record.case for record in records}) for records in runs]
    bursts = [
        kept
        for samples, cases in sampled
        for case in cases
        for one in samples.of(case, bench.workload.shapes[0]).values()
        for kept in one.kept
    ]
    slow = np.mean([samples.slow_share for samples, _ in sampled])
    beside = ", a neighbour burning one core for 1.5 of every 4.5 s" if kind == "neighbour" else ""
    keep(
        f"twins-{kind}",
        f"Copies of one artifact on real runtimes ({kind})",
        f"minilm, batch 1 x 128, all ten processes in turns{beside}; the machine was slow in {slow:.0%} of the blocks; "
        f"{1 - np.mean(bursts):.0%} of the bursts were left out. Faster or slower may be said of none.",
        rows,
    )
    assert [row for row in rows if row["verdict"] in ("faster", "slower")] == []


def test_speed_ups_beside_a_neighbour_are_those_of_a_quiet_machine(bench: real.Bench, keep: Keep) -> None:
    """Rounds with the neighbour and without it alternate: what the machine's host does for minutes on end (int8 loses
    more by it than fp32) is no work of the neighbour's, and so meets both kinds alike."""
    cases = [real.case(build) for build in BUILDS]
    records: dict[str, list[Record]] = {kind: [] for kind in KINDS}
    for number in range(1, SIDE_BY_SIDE_ROUNDS + 1):
        for kind in KINDS if number % 2 else reversed(KINDS):
            with real.neighbour() if kind == "neighbour" else nullcontext():
                records[kind] += bench.round(cases, number, seed=11)
        print(f"round {number} of {SIDE_BY_SIDE_ROUNDS}", flush=True)
    quiet, noisy = (speed_ups(bench, records[kind]) for kind in KINDS)
    rows = [
        {
            "build": build,
            f"speed-up over {BUILDS[0]}, quiet": f"{quiet[build][0]:.3f} ±{quiet[build][1]:.1%}",
            "beside the neighbour": f"{noisy[build][0]:.3f} ±{noisy[build][1]:.1%}",
            "off by": f"{noisy[build][0] / quiet[build][0] - 1:+.1%}",
        }
        for build in quiet
    ]
    keep(
        "speedups-neighbour",
        "Speed-ups beside a neighbour",
        f"{SIDE_BY_SIDE_ROUNDS} rounds of each kind, in turns, a neighbour burning one core for 1.5 of every 4.5 s in "
        "every other one; undisturbed bursts only. Each may be off by 4% at most.",
        rows,
    )
    assert [row for row in rows if abs(noisy[row["build"]][0] / quiet[row["build"]][0] - 1) > 0.04] == []


def test_turns_spread_less_than_one_after_the_other(bench: real.Bench, keep: Keep) -> None:
    builds = ("onnxruntime/fp32", "openvino/fp32")
    cases = [real.case(build, again) for build in builds for again in (False, True)]
    records: list[Record] = []
    apart: list[dict[Any, float]] = []
    for number in range(1, SIDE_BY_SIDE_ROUNDS + 1):
        records += bench.round(cases, number, seed=7)
        apart.append(bench.one_after_the_other(cases, number))
    rows, spreads = [], []
    for build in builds:
        one, other = real.case(build), real.case(build, again=True)
        in_turns = bench.values(records, other, one)
        assert len(in_turns) > 2, "hardly a round had enough undisturbed bursts; the machine is too busy for this"
        alone = [math.log(found[other] / found[one]) for found in apart]
        spreads.append((np.std(in_turns, ddof=1), np.std(alone, ddof=1)))
        rows.append(
            {
                "twins": build,
                "rounds": f"{len(in_turns)} / {len(alone)}",
                "spread in turns": f"{spreads[-1][0]:.1%}",
                "spread one after the other": f"{spreads[-1][1]:.1%}",
                "means": f"{np.mean(in_turns):+.1%} / {np.mean(alone):+.1%}",
            }
        )
    keep(
        "turns",
        "Turns against one after the other",
        "The same twins both ways, one right after the other: a round of turns (25 blocks of 60 ms), then each process "
        "alone for a second. Spread: standard deviation of the log ratio from round to round; of two equal builds.",
        rows,
    )
    assert np.mean([turns for turns, _ in spreads]) < np.mean([alone for _, alone in spreads])


@pytest.mark.parametrize("build", ["onnxruntime/fp32", "openvino/fp32"])
def test_medians_are_those_of_a_ten_line_loop_that_takes_its_turns(bench: real.Bench, build: str, keep: Keep) -> None:
    ratios = real.beside_a_bare_loop(bench, build, BARE_BLOCKS)
    middle = float(np.median(ratios))
    error = 1.25 * float(np.std(ratios, ddof=1)) / math.sqrt(len(ratios))
    keep(
        f"bare-loop-{build.replace('/', '-')}",
        f"Beside a ten-line loop: {build}",
        "optibench's median over that of a bare loop on the runtime's own API (tests/trust/bare.py), in turns. It may "
        "be off by 2% at most.",
        [{"build": build, "blocks": BARE_BLOCKS, "median ratio": f"{middle:.4f}", "standard error": f"{error:.4f}"}],
    )
    assert abs(middle - 1) <= 0.02


def test_the_parent_uses_under_one_percent_of_a_core_while_a_worker_measures(bench: real.Bench, keep: Keep) -> None:
    bench.round([real.case(build) for build in BUILDS], 1)
    share = bench.parent_share()
    keep(
        "own-weight",
        "optibench's own weight",
        "CPU time of the parent over wall time, from the first turn of a round to its last. It may use 1% of a core.",
        [{"turns": len(bench.stamps), "parent's share of a core": f"{share:.3%}"}],
    )
    assert share < 0.01
