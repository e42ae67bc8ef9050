"""A backend with known latency and no hardware, for tests: time is virtual, so a run takes milliseconds.

What a case does is written in its target's ``[options.fake]``, by precision: ``latency_seconds``, how it varies (the
fields of fake_noise.Noise: ``round_noise``, ``call_noise``, ``neighbour``, ...), ``error`` (of the answers), ``fail``
(crash, hang, memory, load, nan), ``executed``, and ``peak`` (operations a second of its matrix product; under "memory"
bytes). Under ``against:PRECISION`` stands what the other side of a run of two does otherwise. Workers of one round
share the machine's pace and its neighbour: they draw them from the same seed, by the turn they are at.
"""

from __future__ import annotations

import math
import os
import signal
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optibench.backends import fake_noise
from optibench.errors import CaseFailed, Unsupported
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "fake"
TURNS = 64
"""Turns whose noise is drawn at a time."""
PRECISIONS = ("fp32", "bf16", "int8", "int8-dynamic", "int8-weights")
GENERATES = PRECISIONS
VOCABULARY = 50
EXTRA = ""
RUNTIME = ()


def probe(target: Target) -> str | None:
    """It runs on targets that say how it should behave there."""
    return None if "fake" in target.options else "fake runs only on targets with [options.fake], in tests"


def recipe(build: Build) -> dict[str, Any] | None:
    """Nothing is built."""
    return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """An artifact of no content."""
    behaviour = build.target.options["fake"].get(build.precision, {})
    if behaviour.get("fail") == "build":
        raise CaseFailed("the fake exporter cannot trace this model")
    return Artifact(format=FORMAT, path="", sha256="0" * 64, bytes=int(behaviour.get("bytes", 1000)))


class FakeClocks:
    """Virtual clocks: a call moves them by its latency, sleeping by what was slept. A process sleeps when its turn is
    over (measure.Meter), so ``rested`` tells the next call that a turn begins."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.switched = 0, 0, 0
        self.rested = True

    def wall_ns(self) -> int:
        return self.wall

    def cpu_ns(self) -> int:
        return self.cpu

    def switches(self) -> int:
        return self.switched

    def sleep(self, seconds: float) -> None:
        self.wall += int(seconds * 1e9)
        self.rested = True


class FakeSession:
    """Answers after a virtual latency; the answers are a fixed function of the inputs plus a planted error."""

    def __init__(self, behaviour: Mapping[str, Any], job: Job) -> None:
        import numpy as np

        self.behaviour = behaviour
        self.job = job
        self.clocks = FakeClocks()
        settings = {name: behaviour[name] for name in fake_noise.Noise.__struct_fields__ if name in behaviour}
        self.noise = fake_noise.Noise(**settings)
        self.rng = np.random.default_rng([job.seed, job.round, zlib.crc32(job.case.name.encode())])
        self.factor = float(fake_noise.process(self.noise, self.rng, ()))
        self.calls = self.turns = self.switches = 0

    def _next_turn(self) -> None:
        """Draws how this turn goes; the machine's part is what every other process of the round draws too."""
        import numpy as np

        chunk, place = divmod(self.turns, TURNS)
        self.turns += 1
        if place == 0:
            shared = np.random.default_rng([self.job.seed, self.job.round, chunk])
            pace, phase = fake_noise.machine(self.noise, shared, (TURNS,))
            self.drawn = fake_noise.bursts(self.noise, self.rng, pace, phase)
        self.slow, self.share, switches = (float(values[place]) for values in self.drawn)
        self.switches = int(switches)

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Mapping[str, numpy.ndarray]:
        return inputs

    def call(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        self._pass(self.behaviour.get("latency_seconds", 0.01) * next(iter(inputs.values())).size / 128)
        return self._outputs(inputs)

    def _pass(self, latency: float) -> None:
        """Moves the clocks as a call of this latency does."""
        self.calls += 1
        if self.calls > 5:
            _fail(str(self.behaviour.get("fail", "")))
        if self.clocks.rested:
            self.clocks.rested = False
            self._next_turn()
        else:  # not in a turn's first call, which is not counted
            self.clocks.switched, self.switches = self.clocks.switched + self.switches, 0
        noise = float(fake_noise.calls(self.noise, self.rng, ()))
        wall = max(1, int(latency * 1e9 * math.exp(self.factor + self.slow + noise)))
        self.clocks.wall += wall
        self.clocks.cpu += int(wall * self.job.threads * self.share)

    def _outputs(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        """Embeddings that depend on the tokens, shape (batch, length, 8), and logits of three classes."""
        import numpy as np

        ids = inputs["input_ids"].astype(float)
        axis = np.arange(1, 9)
        hidden = np.sin(ids[..., None] * axis / 7.0)
        noise = np.random.default_rng(_seed_of(self.job.case.precision)).normal(0, 1, hidden.shape)
        hidden = (hidden + self.behaviour.get("error", 0.0) * noise).astype(np.float32)
        if self.behaviour.get("fail") == "nan":
            hidden[:] = np.nan
        return {"last_hidden_state": hidden, "logits": hidden.mean(axis=1)[:, :3]}

    def arrays(self, outputs: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        return outputs

    def executed(self, inputs: Any) -> Executed:
        asked = self.job.case.precision
        usual = "fp32" if asked.endswith("-weights") else asked.partition("-")[0]
        precision = str(self.behaviour.get("executed", usual))
        return Executed(provider="fake", precision=precision, threads=self.job.threads, operations={precision: 1})


class FakeGenerativeSession(FakeSession):
    """A language of VOCABULARY tokens, in which the next one depends on the last one alone. A token takes
    ``token_seconds`` in decoding."""

    past = 0

    def call(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        super().call(inputs)
        return {"logits": self._after(inputs["input_ids"])}

    def start(self, inputs: Mapping[str, numpy.ndarray]) -> numpy.ndarray:
        self.past = inputs["input_ids"].size
        return self.call(inputs)["logits"][:, -1]

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        self.past += len(tokens)
        self._pass(self.behaviour.get("token_seconds", 0.001) * len(tokens))
        return self._after(tokens)

    def cache_bytes(self) -> int:
        return 64 * self.past

    def _after(self, tokens: numpy.ndarray) -> numpy.ndarray:
        """Logits of what follows each of the tokens."""
        import numpy as np

        axis = np.arange(VOCABULARY)
        logits = 4 * np.sin(1.7 * tokens[..., None] + axis * axis / 3.0)
        noise = np.random.default_rng(_seed_of(self.job.case.precision)).normal(0, 1, VOCABULARY)
        if self.behaviour.get("fail") == "nan":
            logits[:] = np.nan
        found: numpy.ndarray = (logits + self.behaviour.get("error", 0.0) * noise).astype(np.float32)
        return found


class FakeGauge:
    """A limit that is what the target says."""

    amount = 10**6

    def __init__(self, per_second: float, limit: str) -> None:
        self.clocks = FakeClocks()
        self.step = int(self.amount / per_second * 1e9)
        self.detail = {"how": f"fake {limit}", "cache_bytes": 1000}

    def call(self, feed: Any) -> None:
        self.clocks.wall += self.step
        self.clocks.cpu += self.step


def gauge(limit: str, target: Target, threads: int) -> FakeGauge:
    """The target's own word, or 10 billion a second."""
    behaviour = target.options["fake"].get(limit, {})
    if behaviour.get("peak") == 0:
        raise Unsupported(f"the fake machine shows no {limit}")
    return FakeGauge(behaviour.get("peak", 1e10), limit)


def _seed_of(name: str) -> int:
    return int(sum(ord(letter) * 31**place for place, letter in enumerate(name))) % (1 << 31)


def _fail(how: str) -> None:
    """Ends as real workers do."""
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "memory":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "hang":
        time.sleep(3600)
    elif how == "error":
        raise RuntimeError("the fake runtime gave up")


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[FakeSession]:
    """Opens nothing."""
    case, known = job.case, job.target.options["fake"]
    behaviour = {**known.get(case.precision, {}), **known.get(f"{case.variant}:{case.precision}", {})}
    if behaviour.get("fail") == "load":
        raise CaseFailed("the fake runtime cannot open this file")
    yield (FakeGenerativeSession if job.generates else FakeSession)(behaviour, job)
