"""Comparisons and whole runs on the fake backend's noise, drawn in arrays: a thousand comparisons take seconds.

What is drawn is judged by the project's own statistics, round after round, as a run is.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from optibench import comparison, stats
from optibench.backends import fake_noise
from optibench.backends.fake_noise import Noise
from optibench.values import Artifact, Burst, Case, DataRef, Parity, Record, Score, Series, Shape, Workload
from tests.factories import SHA256, measurement, model, record

FITTED = Path(__file__).parent.parent / "data" / "noise" / "fitted.json"
WORKLOAD = Workload(shapes=(Shape(batch=1, length=128),))
THREADS = 2

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def fitted(kind: str = "quiet") -> Noise:
    """The noise that tests/trust/fit.py found in the recording "quiet", or "neighbour" (one that burns a core)."""
    return msgspec.convert(json.loads(FITTED.read_text())[kind], Noise)


@dataclass(frozen=True)
class Bursts:
    """One case's bursts; the last axis of each array is the block, the one before it the round."""

    calls_ns: np.ndarray
    """Has one more axis: the calls."""
    cpu_ns: np.ndarray
    switches: np.ndarray

    @property
    def wall_ns(self) -> np.ndarray:
        return self.calls_ns.sum(axis=-1)

    @property
    def median_ns(self) -> np.ndarray:
        return np.median(self.calls_ns, axis=-1)

    def kept(self) -> np.ndarray:
        """Which are undisturbed, told over all rounds at once."""

        def flat(array: np.ndarray) -> np.ndarray:
            return array.reshape(*array.shape[:-2], -1)

        shape = self.cpu_ns.shape
        return stats.undisturbed_of(flat(self.wall_ns), flat(self.cpu_ns), flat(self.switches)).reshape(shape)

    def until(self, rounds: int, which: np.ndarray) -> Bursts:
        """The first rounds of some comparisons."""
        return Bursts(self.calls_ns[which, :rounds], self.cpu_ns[which, :rounds], self.switches[which, :rounds])


def bursts(
    noise: Noise, rng: np.random.Generator, shared: tuple[np.ndarray, np.ndarray], seconds: float, hit: Any = 0.0
) -> Bursts:
    """A case's bursts on a machine (``fake_noise.machine``); ``hit`` is what slows its processes besides, in logs."""
    pace, phase = shared
    slow, share, switches = fake_noise.bursts(noise, rng, pace, phase)
    slow = slow + (fake_noise.process(noise, rng, pace.shape[:-1]) + hit)[..., None]
    count = max(2, math.ceil(WORKLOAD.burst_seconds / seconds))
    log = slow[..., None] + fake_noise.calls(noise, rng, (*pace.shape, count))
    calls = seconds * 1e9 * np.exp(log)
    return Bursts(calls, calls.sum(axis=-1) * share * THREADS, switches)


def values(mine: Bursts, theirs: Bursts) -> np.ndarray:
    """The rounds' values, as samples.py makes them; NaN where too few blocks were undisturbed."""
    logs, planned = np.log(mine.median_ns / theirs.median_ns), mine.cpu_ns.shape[-1]
    kept = [mine.kept(), theirs.kept()]
    means = [
        np.where(k, np.log(b.wall_ns / b.calls_ns.shape[-1]), np.nan) for k, b in zip(kept, (mine, theirs), strict=True)
    ]
    flat = np.stack([m.reshape(*m.shape[:-2], -1) for m in means], axis=-2)
    undisturbed = np.where(kept[0] & kept[1], logs, np.nan)
    every = stats.value_of(undisturbed, stats.blocks_needed(planned))
    fast = np.where(stats.slow(flat).reshape(logs.shape), np.nan, undisturbed)
    steady = np.where(np.isfinite(every), stats.value_of(fast, stats.blocks_needed(planned, steady=True)), np.nan)
    enough = np.isfinite(steady).sum(axis=-1, keepdims=True) >= WORKLOAD.rounds
    return np.where(enough, steady, every)


def pairs(
    noise: Noise,
    rng: np.random.Generator,
    count: int,
    rounds: int = WORKLOAD.max_rounds,
    slower: float = 0.0,
    seconds: float = 0.012,
    hit: Values | None = None,
) -> tuple[Bursts, Bursts]:
    """``count`` comparisons: a candidate that is ``slower`` by that share, and its base, in turns."""
    shared = fake_noise.machine(noise, rng, (count, rounds, WORKLOAD.blocks))
    hits = [hit(rng, (count, rounds)) if hit else 0.0 for _ in range(2)]
    return (
        bursts(noise, rng, shared, seconds * (1 + slower), hits[0]),
        bursts(noise, rng, shared, seconds, hits[1]),
    )


def verdicts(mine: Bursts, theirs: Bursts) -> list[tuple[str, int]]:
    """Verdict and rounds of each comparison, looked at again after every round until it is decided."""
    count, rounds = mine.cpu_ns.shape[:2]
    found = [("unknown", rounds)] * count
    still = np.arange(count)
    for done in range(WORKLOAD.rounds, rounds + 1):
        seen = values(mine.until(done, still), theirs.until(done, still))
        for number, row in zip(still, seen, strict=True):
            said = comparison.judged(row[np.isfinite(row)].tolist(), WORKLOAD.rounds)[1]
            found[number] = (said, done)
        still = np.array([number for number in still if found[number][0] == "unknown"], int)
        if not len(still):
            break
    return found


def own_noise(noise: Noise, runs: int = 400) -> float:
    """The spread of a case's value in a round of a run under this noise: a pair's, over the square root of 2."""
    mine, theirs = pairs(noise, np.random.default_rng(0), runs, rounds=10)
    return float(np.nanstd(values(mine, theirs)) / math.sqrt(2))


def scaled(noise: Noise, wanted: float) -> Noise:
    """Noise of the same form in which a case's value in a round varies by ``wanted``."""
    names = ("round_noise", "drift", "burst_noise", "tail_mean", "call_noise")
    for _ in range(4):  # not in proportion: with more noise, more blocks look slow
        factor = wanted / own_noise(noise)
        noise = msgspec.structs.replace(noise, **{name: getattr(noise, name) * factor for name in names})
    return noise


def case(name: str, copy: int = 0) -> Case:
    """The case "target/backend/precision"."""
    target, backend, precision = name.split("/")
    return Case(target=target, backend=backend, precision=precision, copy=copy)


USUAL = {
    "cpu/pytorch/fp32": 0.026,
    "cpu/onnxruntime/fp32": 0.019,
    "cpu/onnxruntime/int8": 0.010,
    "cpu/openvino/fp32": 0.017,
    "cpu/openvino/int8": 0.007,
}
"""Seconds of a call, near to what a real run showed; the first is the reference."""


@dataclass(frozen=True)
class FakeRun:
    """A run of known truth: ``slower`` and ``accuracy_drop`` plant a change by case name (0.10: ten percent slower;
    0.04: four points of accuracy lost). The same seed gives the same run; a second run wants another seed, since its
    noise would not be the same either. Its answers are those of its ``build``, whatever the seed: another build
    differs from the reference on other examples."""

    noise: Noise = field(default_factory=fitted)
    seed: int = 0
    seconds: Mapping[str, float] = field(default_factory=lambda: USUAL)
    slower: Mapping[str, float] = field(default_factory=dict)
    accuracy_drop: Mapping[str, float] = field(default_factory=dict)
    examples: int = 1000
    build: int = 0
    workload: Workload = WORKLOAD

    def round(self, number: int) -> list[Record]:
        """The records of one round (1, 2, ...), the reference's twin among them."""
        rng = np.random.default_rng([self.seed, number])
        shared = fake_noise.machine(self.noise, rng, (1, self.workload.blocks))
        reference = case(next(iter(self.seconds)))
        cases = [*map(case, self.seconds), msgspec.structs.replace(reference, copy=1)]
        return [self._record(each, number, shared) for each in cases]

    def records(self, rounds: int | None = None) -> list[Record]:
        """Rounds until every comparison is decided, as a run does it; or ``rounds`` of them."""
        found: list[Record] = []
        for number in range(1, (rounds or 2 * self.workload.max_rounds) + 1):
            found += self.round(number)
            if rounds is None and number >= self.workload.rounds and not comparison.undecided(found):
                break
        return found

    def _record(self, case: Case, number: int, shared: tuple[np.ndarray, np.ndarray]) -> Record:
        name = comparison.untwinned(case).name
        rng = np.random.default_rng([self.seed, number, zlib.crc32(case.name.encode())])
        seconds = self.seconds[name] * (1 + self.slower.get(name, 0.0))
        drawn = bursts(self.noise, rng, shared, seconds)
        series = Series(
            shape=self.workload.shapes[0],
            first_call_seconds=2 * seconds,
            warmup_calls=10,
            settled=True,
            peak_bytes=200_000_000,
            bursts=tuple(
                Burst(block=block, wall_ns=tuple(map(int, calls)), cpu_ns=int(cpu), switches=int(switches))
                for block, (calls, cpu, switches) in enumerate(
                    zip(drawn.calls_ns[0], drawn.cpu_ns[0], drawn.switches[0], strict=True)
                )
            ),
        )
        return record(
            case=case,
            model=model(task="text-classification"),
            workload=self.workload,
            round=number,
            threads=THREADS,
            artifact=Artifact(format="fake", path="", sha256=SHA256, bytes=20_000_000),
            measurement=measurement(series, executed=None),
            dataset=DataRef(id="planted", sha256=SHA256, count=self.examples),
            **(self._judged(name) if number == 1 and not case.copy else {}),
        )

    def _judged(self, name: str) -> dict[str, Any]:
        """Answers to examples of two classes: the reference is right on nine of ten; the others differ from it on a
        fiftieth, half for better and half for worse, and lose what was planted."""
        reference = next(iter(self.seconds))
        shared = np.random.default_rng(999)
        labels = shared.integers(0, 2, self.examples)
        right = np.ones(self.examples, bool)
        right[shared.choice(self.examples, self.examples // 10, replace=False)] = False
        if name != reference:
            rng = np.random.default_rng([self.build, 998, zlib.crc32(name.encode())])
            better = rng.choice(np.flatnonzero(~right), self.examples // 100, replace=False)
            lost = self.examples // 100 + round(self.accuracy_drop.get(name, 0.0) * self.examples)
            worse = rng.choice(np.flatnonzero(right), lost, replace=False)
            right[better], right[worse] = True, False
        answers = np.where(right, labels, 1 - labels)
        return {
            "scores": (
                Score(
                    metric="accuracy",
                    value=float(right.mean()),
                    count=self.examples,
                    predictions=tuple(map(float, answers)),
                    labels=tuple(map(float, labels)),
                ),
            ),
            "parity": Parity(cosine=0.999, cosine_min=0.98, max_abs_difference=0.05, count=self.examples),
            "answers_sha256": SHA256,
        }


def called(found: Sequence[tuple[str, int]], *what: str) -> float:
    """Share of comparisons with one of these verdicts."""
    return sum(said in what for said, _ in found) / len(found)


def mean_rounds(found: Sequence[tuple[str, int]]) -> float:
    return sum(rounds for _, rounds in found) / len(found)
