"""Fits the fake backend's noise to the recordings: ``python -m tests.trust.fit`` writes tests/data/noise/fitted.json.

The same figures (``spreads``) are taken of a recording and of what the model draws in its place; each parameter is
moved until its figure agrees. So whatever blurs a figure in the recording (few blocks, few cases) blurs both.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from dataclasses import dataclass

import msgspec
import numpy as np

from optibench import stats
from optibench.backends import fake_noise
from optibench.backends.fake_noise import Noise
from optibench.measure import QUIET_STEP_SECONDS, QUIET_STEPS
from tests.trust.record import DATA
from tests.trust.simulate import FITTED

PERIOD_SECONDS = 4.5
"""Of the recorded neighbour (tests/trust/real.py)."""
TAKEN = 0.15
"""A burst that lost more of its CPU than this had a neighbour; what quiet recordings lose is smaller."""
NOTICED = 0.03
"""... and one that lost less than this lost nothing that can be told from the clock's coarseness."""
FAR = 0.15
"""Bursts slower than their block by more than this (in logs) are the tail's."""


@dataclass(frozen=True)
class Recording:
    """Bursts by case, round and block; ``twins`` are pairs of cases that are one artifact."""

    median: np.ndarray
    spread: np.ndarray
    share: np.ndarray
    switches: np.ndarray
    calls: np.ndarray
    twins: tuple[tuple[int, int], ...]

    @property
    def block_seconds(self) -> float:
        """How long a block takes: of each case an uncounted call, the burst, and the wait until it is quiet."""
        rest = len(self.median) * QUIET_STEPS * QUIET_STEP_SECONDS
        return float(np.mean((self.wall + self.median).sum(axis=0)) / 1e9 + rest)

    @property
    def wall(self) -> np.ndarray:
        return self.median * self.calls

    def kept(self) -> np.ndarray:
        flat = [a.reshape(len(a), -1) for a in (self.wall, self.share * self.wall, self.switches)]
        return stats.undisturbed_of(*flat).reshape(self.median.shape)

    def slow(self) -> np.ndarray:
        """The blocks that the whole machine was slow in, by round and block (stats.slow)."""
        logs = np.where(self.kept(), np.log(self.median), np.nan)
        return stats.slow(logs.reshape(len(logs), -1)).reshape(self.median.shape[1:])

    def changing(self) -> np.ndarray:
        """The blocks at whose start or end the machine's pace changed."""
        slow = self.slow()
        changed = np.diff(slow, axis=-1)
        edge = np.zeros_like(slow[:, :1])
        return np.hstack([changed, edge]) | np.hstack([edge, changed])

    def slow_by(self) -> np.ndarray:
        """How much longer (a log) each case's bursts take in slow blocks."""
        logs, slow = np.where(self.kept(), np.log(self.median), np.nan), self.slow()
        if not slow.any() or slow.all():
            return np.zeros((len(logs), 1, 1))
        found = np.nanmedian(logs[:, slow], axis=-1) - np.nanmedian(logs[:, ~slow], axis=-1)
        return found[:, None, None]

    def slow_blocks(self) -> float:
        """For how many blocks on end the machine is slow, on average; a round's end cuts the last ones off."""
        slow = self.slow()
        starts = slow[:, 0].sum() + (slow[:, 1:] & ~slow[:, :-1]).sum()
        cut = slow[:, 0].sum() + slow[:, -1].sum()
        return float(slow.sum() / max(starts - cut / 2, 1))

    def lost(self) -> np.ndarray:
        """The share of its CPU that each burst lost, against its case's usual best."""
        best = np.percentile(self.share, 75, axis=(1, 2), keepdims=True)
        return 1 - self.share / best

    def values(self, one: int, other: int) -> np.ndarray:
        """Every round's value of one case against another, without slow blocks; NaN where it has none."""
        kept, logs = self.kept(), np.log(self.median[other] / self.median[one])
        steady = kept[one] & kept[other] & ~self.slow()
        return stats.value_of(np.where(steady, logs, np.nan), stats.blocks_needed(logs.shape[-1], steady=True))

    def ratios(self) -> float:
        """How any two cases' log ratio varies from round to round (standard deviation)."""
        pairs = itertools.combinations(range(len(self.median)), 2)
        return math.sqrt(np.nanmean([np.nanvar(self.values(*pair), ddof=1) for pair in pairs]))

    def twin_ratios(self) -> float:
        """How far twins' log ratio, which should be 0, is from it (root of the mean square)."""
        return math.sqrt(np.nanmean([np.square(self.values(*pair)) for pair in self.twins]))

    def deviations(self) -> np.ndarray:
        """Log medians about their case's median in the round, as if the machine had never been slow."""
        logs = np.log(self.median) - self.slow() * self.slow_by()
        kept = np.where(self.kept(), logs, np.nan)
        middle = np.where(np.isfinite(kept).any(axis=-1), np.nanmedian(kept, axis=-1), np.median(logs, axis=-1))
        return logs - middle[..., None]


def recording(name: str) -> Recording:
    """tests/data/noise/NAME.csv."""
    with (DATA / f"{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    cases = list(dict.fromkeys(row["case"] for row in rows))
    shape = (len(cases), *(len({row[key] for row in rows}) for key in ("round", "block")))
    rows.sort(key=lambda row: (cases.index(row["case"]), int(row["round"]), int(row["block"])))
    columns = ("median_us", "call_spread", "cpu_share", "switches", "calls")
    median, spread, share, switches, calls = (
        np.array([float(row[column]) for row in rows]).reshape(shape) for column in columns
    )
    twins = tuple((cases.index(name), cases.index(f"again:{name}")) for name in cases if f"again:{name}" in cases)
    return Recording(median * 1e3, spread, share, switches, calls, twins)


def drawn(noise: Noise, like: Recording, rounds: int = 100, seed: int = 0) -> Recording:
    """What the model shows in place of a recording: the same cases and calls, more rounds."""
    rng = np.random.default_rng(seed)
    cases, _, blocks = like.median.shape
    pace, phase = fake_noise.machine(noise, rng, (rounds, blocks))
    found = []
    for number in range(cases):
        slow, share, switches = fake_noise.bursts(noise, rng, pace, phase)
        log = slow + fake_noise.process(noise, rng, (rounds, 1))
        count = max(2, round(float(np.median(like.calls[number]))))
        calls = np.exp(log[..., None] + fake_noise.calls(noise, rng, (*log.shape, count)))
        median = np.median(calls, axis=-1)
        found.append((median, np.std(calls, axis=-1) / median, share, switches, np.full(median.shape, count)))
    columns = (np.array(column) for column in zip(*found, strict=True))
    return Recording(*columns, twins=like.twins)


def spreads(seen: Recording) -> dict[str, float]:
    """The figures by which a recording and the model are laid side by side; deviations are of log time."""
    deviations, lost = seen.deviations(), seen.lost()
    kept = seen.kept()
    pace = np.ma.median(np.ma.array(deviations, mask=~kept), axis=0).filled(0.0)  # by round and block
    # Of what others disturbed nothing is compared, and blocks in which the host came or went are of both paces.
    own = (deviations - pace)[kept & ~seen.changing()]
    lag = [float(np.corrcoef(row[1:], row[:-1])[0, 1]) for row in pace]
    low, high = np.percentile(own, [25, 75])
    far = own[own > FAR]
    taken, noticed = lost > TAKEN, lost > NOTICED
    return {
        "ratios": seen.ratios(),
        "twin_ratios": seen.twin_ratios(),
        "disturbed": float(1 - seen.kept().mean()),
        "slow": float(seen.slow().mean()),
        "slow_by": float(np.median(seen.slow_by())),
        "slow_blocks": seen.slow_blocks(),
        "pace": float(np.median(pace.std(axis=-1))),
        "pace_memory": float(np.mean(lag)),
        "burst_quartiles": float(high - low),
        "far": len(far) / own.size,
        "far_mean": float(np.mean(far) - FAR) if len(far) else 0.0,
        "call_spread": float(np.median(seen.spread)),
        "noticed": float(noticed.mean()),
        "noticed_mean": float(np.mean(lost[noticed]) - NOTICED) if noticed.any() else 0.0,
        "share_spread": float(np.mean(np.diff(np.percentile(seen.share, [50, 90], axis=(1, 2)), axis=0))),
        "switches": float(np.median(seen.switches.mean(axis=(1, 2)))),
        "taken": float(taken.mean()),
        "taken_share": float(np.median(lost[taken])) if taken.any() else 0.0,
        "taken_slower": float(np.median(deviations[taken])) if taken.any() else 0.0,
        **{f"burst_p{q:g}": float(np.percentile(own, q)) for q in (1, 5, 95, 99)},
    }


MOVED = {
    "drift": "pace",
    "burst_noise": "burst_quartiles",
    "tail": "far",
    "tail_mean": "far_mean",
    "call_noise": "call_spread",
    "stolen": "noticed",
    "stolen_mean": "noticed_mean",
    "share_noise": "share_spread",
    "switches": "switches",
}
"""Which figure each parameter is moved by: both grow together."""
NEIGHBOURS = {"neighbour": "taken", "neighbour_takes": "taken_share", "cost": "taken_slower"}


def moved(noise: Noise, names: dict[str, str], seen: Recording, steps: int = 10) -> Noise:
    """The noise with these parameters moved, step by step, until the model's figures are the recording's."""
    wanted = spreads(seen)
    for step in range(steps):
        found = spreads(drawn(noise, seen, seed=step))
        changes = {}
        for name, figure in names.items():
            if wanted[figure] <= 0:
                changes[name] = 0.0
                continue
            ratio = wanted[figure] / max(found[figure], wanted[figure] / 4)
            changes[name] = getattr(noise, name) * min(max(ratio, 0.5), 2.0) ** 0.7
        for name in ("tail", "stolen", "neighbour"):
            if name in changes:
                changes[name] = min(changes[name], 0.9)
        if "drift" in names:
            lag = noise.drift_memory + 0.7 * (wanted["pace_memory"] - found["pace_memory"])
            changes["drift_memory"] = min(max(lag, 0.0), 0.95)
        noise = msgspec.structs.replace(noise, **changes)
    return noise


def with_host(noise: Noise, seen: Recording) -> Noise:
    """The noise with the recording's slow blocks: how often, by how much and for how long."""
    found = {"slow": float(seen.slow().mean()), "slow_by": float(np.median(seen.slow_by()))}
    return msgspec.structs.replace(noise, **found, slow_blocks=seen.slow_blocks())


def with_processes(noise: Noise, seen: Recording) -> Noise:
    """What ratios vary by over and above what the bursts make them vary by is the processes' own."""
    without = drawn(msgspec.structs.replace(noise, round_noise=0.0), seen, rounds=400).ratios()
    left = max(seen.ratios() ** 2 - without**2, 0.0)
    return msgspec.structs.replace(noise, round_noise=math.sqrt(left / 2))


def fit(quiet: Recording, noisy: Recording) -> dict[str, Noise]:
    """The noise of the quiet recording, and of the one with a neighbour: its steps on top of the quiet one's."""
    start = Noise(
        round_noise=0.01, drift=0.05, burst_noise=0.03, tail=0.05, tail_mean=0.2, call_noise=0.03,
        stolen=0.2, stolen_mean=0.05, share_noise=0.01, switches=2.0,
    )  # fmt: skip
    loud = msgspec.structs.replace(start, neighbour=1 / 3, neighbour_blocks=PERIOD_SECONDS / noisy.block_seconds)
    # What a lost share costs shows best beside a neighbour, and bears on the quiet recording too: so twice around.
    for _ in range(2):
        hosted = with_host(msgspec.structs.replace(start, cost=loud.cost), quiet)
        calm = with_processes(moved(hosted, MOVED, quiet), quiet)
        kept = {name: getattr(loud, name) for name in (*NEIGHBOURS, "neighbour_blocks")}
        loud = moved(with_host(msgspec.structs.replace(calm, **kept), noisy), NEIGHBOURS, noisy)
    return {"quiet": calm, "neighbour": loud}


def main() -> None:
    quiet, noisy = recording("quiet"), recording("neighbour")
    found = fit(quiet, noisy)
    rounded = {
        kind: {name: float(f"{value:.3g}") for name, value in msgspec.to_builtins(noise).items()}
        for kind, noise in found.items()
    }
    FITTED.write_text(json.dumps(rounded, indent=2) + "\n")
    for kind, seen in (("quiet", quiet), ("neighbour", noisy)):
        model = spreads(drawn(found[kind], seen, rounds=600))
        for name, value in spreads(seen).items():
            print(f"{kind:10} {name:16} recorded {value:8.4f}  model {model[name]:8.4f}")


if __name__ == "__main__":
    main()
