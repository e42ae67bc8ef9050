"""A worker: one process that opens one artifact, and then does as it is told, a request a line.

Requests and replies are JSON lines over a pair of pipes of their own; standard output and error belong to the native
libraries, and go to a log. It imports its backend's runtime and numpy, nothing of torch unless that is the backend.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from optibench import energy, generation, generation_rules, measure, nvml
from optibench.errors import CaseFailed, Unsupported, first_line
from optibench.gpu_values import GpuReading
from optibench.values import Gauged, Job, Series, Shape, Target, Value


class Open(Value, frozen=True, kw_only=True, tag="open"):
    """Open the job's artifact. Modules are named by the parent, so that no worker searches entry points."""

    job: Job
    backend: str
    task: str
    started_ns: int


class Warm(Value, frozen=True, kw_only=True, tag="warm"):
    """First call and warm-up of one shape."""

    shape: Shape


class Turn(Value, frozen=True, kw_only=True, tag="turn"):
    """One burst: calls for ``seconds``, ``least`` of them at any rate."""

    shape: Shape
    block: int
    seconds: float
    least: int = 2


class Spend(Value, frozen=True, kw_only=True, tag="spend"):
    """Calls for ``seconds`` beside the counter of the GPU's energy."""

    shape: Shape
    seconds: float


class Judge(Value, frozen=True, kw_only=True, tag="judge"):
    """Run the evaluation inputs and write the answers, one row an input in the file's order, to ``out``; and say what
    the runtime really executes."""

    evaluation: str
    out: str


class Gauge(Value, frozen=True, kw_only=True, tag="gauge"):
    """One burst at a limit of the machine (limits.py), by the ``gauge`` of the backend module named."""

    backend: str
    target: Target
    threads: int
    limit: str
    block: int
    seconds: float


Request = Open | Warm | Turn | Spend | Judge | Gauge


class Worker:
    """Answers requests about one job. In a process of its own (``main``), or inside a test."""

    def __init__(self) -> None:
        self.open_things = ExitStack()
        self.timed: dict[Shape, measure.Timed] = {}
        self.sensors: nvml.Watch | None = None
        self.reading: GpuReading | None = None

    def answer(self, request: Request) -> dict[str, Any]:
        """The reply to one request, as plain JSON; errors are replies too, so that the worker lives on."""
        try:
            match request:
                case Open():
                    return self._open(request)
                case Warm():
                    return self._warm(request.shape)
                case Turn():
                    timed = self.timed[request.shape]
                    burst = self.meter.burst(timed, request.block, request.seconds, request.least, self._look)
                    return {"burst": msgspec.to_builtins(burst), "reading": msgspec.to_builtins(self.reading)}
                case Spend():
                    return self._spend(request)
                case Judge():
                    return self._judge(request)
                case Gauge():
                    return self._gauge(request)
        except Unsupported as error:
            return {"error": str(error), "kind": "skipped"}
        except Exception as error:
            traceback.print_exc()
            return {"error": first_line(error), "kind": "failed"}

    def close(self) -> None:
        """Lets go of the artifact."""
        self.open_things.close()

    def _open(self, request: Open) -> dict[str, Any]:
        self.job = job = request.job
        self.task = importlib.import_module(request.task)
        backend = importlib.import_module(request.backend)
        shape, longest = job.shapes[0], max(shape.length for shape in job.shapes)
        most = job.artifact.longest or longest
        if longest > most:
            raise CaseFailed(f"its graph takes texts of up to {most} tokens, and --length asks for {longest}")
        arrays = self._timing_arrays(shape)
        start = time.perf_counter_ns()
        self.session = self.open_things.enter_context(backend.session(job.artifact, job))
        load_seconds = (time.perf_counter_ns() - start) / 1e9
        self.meter = measure.Meter(getattr(self.session, "clocks", None))
        self.feed = self.session.feed(arrays)
        self.timed[shape] = self._timed(shape, self.feed)
        self.first, outputs = self.meter.first_call(self.timed[shape])
        cold_start = (time.perf_counter_ns() - request.started_ns) / 1e9
        self._check(self._arrays(outputs))
        if job.device:  # only now, so that it is part of no time
            self.sensors = nvml.watch(job.device)
        return {
            "load_seconds": load_seconds,
            "cold_start_seconds": cold_start,
            "first_call_seconds": self.first,
        }

    def _timing_arrays(self, shape: Shape) -> Any:
        from optibench.arrays import batches_of

        return next(batches_of(Path(self.job.inputs) / f"shape-{shape.size}.npz"))

    def _timed(self, shape: Shape, feed: Any) -> measure.Timed:
        if shape.phase:
            return generation.timed(self.session, feed, shape)
        return measure.Timed(partial(self.session.call, feed))

    def _arrays(self, outputs: Any) -> Mapping[str, Any]:
        """What a timed call returned, by name."""
        if self.job.generates:
            return {"logits": outputs}
        found: Mapping[str, Any] = self.session.arrays(outputs)
        return found

    def _check(self, outputs: Mapping[str, Any]) -> None:
        """A build that answers nothing, or nonsense, is not worth timing."""
        import numpy as np

        for name, array in outputs.items():
            if array.size == 0 and not self.job.model.is_graph:  # which may well have found nothing
                raise CaseFailed(f"the output {name!r} is empty: the build does not follow the input's shape")
            # Some models' logits hold -inf on purpose (masked vocabulary); NaN is never meant.
            if np.issubdtype(array.dtype, np.floating) and np.isnan(array).any():
                raise CaseFailed(f"the output {name!r} holds NaN")

    def _warm(self, shape: Shape) -> dict[str, Any]:
        first, further = self.first, shape not in self.timed
        if further:
            self.timed[shape] = self._timed(shape, self.session.feed(self._timing_arrays(shape)))
            first, outputs = self.meter.first_call(self.timed[shape])
            self._check(self._arrays(outputs))
        calls, settled = self.meter.warm_up(self.timed[shape], further)
        series = Series(
            shape=shape,
            first_call_seconds=first,
            warmup_calls=calls,
            settled=settled,
            peak_bytes=measure.peak_bytes(),
            cache_bytes=self.session.cache_bytes() if shape.phase == "decode" else None,
        )
        return {"series": msgspec.to_builtins(series)}

    def _look(self) -> None:
        self.reading = self.sensors.reading() if self.sensors else None

    def _spend(self, request: Spend) -> dict[str, Any]:
        timed, spent = self.timed[request.shape], None
        if self.sensors and timed.rewind is None:
            spent = energy.spent(timed.call, self.sensors.millijoules, request.seconds)
        return {"energy": msgspec.to_builtins(spent)}

    def _judge(self, request: Judge) -> dict[str, Any]:
        """Answers stream to the file, a batch at a time, so that memory stays flat whatever the data's size."""
        import numpy as np

        from optibench.arrays import batches_of

        digest, count, sizes = hashlib.sha256(), 0, set()
        rows: list[int] = []  # answers of each input, where it has several
        raw = Path(request.out + ".raw")
        with raw.open("wb") as file:
            for batch in batches_of(Path(request.evaluation)):
                try:
                    outputs = self._run(batch)
                except Exception as error:
                    raise CaseFailed(f"{first_line(error)}, with {self._cause(batch, count)}") from error
                found = self.task.answers(outputs, batch, self.job.model)
                if isinstance(found, list):
                    rows += [len(one) for one in found]
                    found = np.concatenate(found)
                answers = np.ascontiguousarray(found, np.float32)
                if np.isnan(answers).any():
                    self._check(outputs)  # names the first tensor that holds it
                    raise CaseFailed(f"the answers to evaluation inputs {count} and on hold NaN")
                digest.update(answers.tobytes())
                file.write(answers.tobytes())
                count += len(answers)
                sizes.add(answers.shape[1])
        return {
            "answers_sha256": digest.hexdigest(),
            "count": count,
            "size": sizes.pop() if len(sizes) == 1 else 0,  # a graph may find more in one input than in another
            "rows": rows,
            "file": str(raw),
            "generated": self._generated(),
            "executed": msgspec.to_builtins(self.session.executed(self.feed)),
        }

    def _cause(self, batch: Mapping[str, Any], before: int) -> str:
        """Which input of the batch the model does not run, found by running each alone; by the number of its row in the
        data, where the inputs' maker knew it. ``before``: inputs before the batch."""
        rows = len(next(iter(batch.values())))
        for row in range(rows):
            mine = {k: a[row : row + 1] if len(a) == rows and not k.startswith("_") else a for k, a in batch.items()}
            try:
                self._run(mine)
            except Exception:
                facts = msgspec.json.decode((Path(self.job.inputs) / "entry.json").read_bytes())["facts"]
                numbers = facts.get("numbers")
                if not numbers:
                    return f"evaluation input {before + row + 1}"
                return f"row {numbers[facts['order'][before + row]]} of the data"
        return f"evaluation inputs {before + 1} to {before + rows} in one batch, but not with each alone"

    def _run(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The outputs for a batch, by name: of one call, unless the task knows another way (``run``)."""
        run = getattr(self.task, "run", None)
        if run:
            found: Mapping[str, Any] = run(self.session, batch, self.job.model)
        else:
            found = self.session.arrays(self.session.call(self.session.feed(batch)))
        return found

    def _generated(self) -> list[list[int]]:
        """What is made of the inputs' prompts, where there are any: as many tokens as are timed, ends passed over; of a
        model with an encoder, by its own rules."""
        from optibench.arrays import batches_of

        prompts = Path(self.job.inputs) / "prompts.npz"
        if not self.job.generates or not prompts.is_file():
            return []
        most = max(shape.new_tokens for shape in self.job.shapes)
        rows = [self._tokens(one, most) for one in batches_of(prompts)]
        return [row.tolist() for batch in rows for row in batch]

    def _tokens(self, batch: Mapping[str, Any], most: int) -> list[Any]:
        rules = generation_rules.rules_in(batch)
        how = (rules.stop, rules.choose) if rules else ()
        return generation.generate(self.session, self.session.feed(batch), most, *how)

    def _gauge(self, request: Gauge) -> dict[str, Any]:
        """Made anew each time: what goes fastest may have been chosen while something else ran."""
        gauge = importlib.import_module(request.backend).gauge(request.limit, request.target, request.threads)
        timed = measure.Timed(partial(gauge.call, None))
        burst = measure.Meter(getattr(gauge, "clocks", None)).burst(timed, request.block, request.seconds)
        return {"gauged": msgspec.to_builtins(Gauged(amount=gauge.amount, burst=burst, detail=gauge.detail))}


def main() -> None:
    """The process: ``worker.py REQUEST_FD REPLY_FD``. Ends when the parent closes its end, or dies."""
    die_with_parent()
    requests = os.fdopen(int(sys.argv[1]), "rb")
    replies = os.fdopen(int(sys.argv[2]), "wb", buffering=0)
    decoder = msgspec.json.Decoder(Request)
    worker = Worker()
    for line in requests:
        replies.write(msgspec.json.encode(worker.answer(decoder.decode(line))) + b"\n")
    # No tidying up: some runtimes' destructors crash or take seconds, and nothing here outlives the process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def die_with_parent() -> None:
    """Asks Linux to kill this process when its parent dies, so that a killed run leaves nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    main()
