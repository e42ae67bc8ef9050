"""Which builds of which architectures work: ``python -m tests.coverage.sweep [--shard 1/4] [--failed] [NAME ...]``.

Each architecture goes the way that ``optibench compare`` goes, by the same requests to builder and worker, in a process
forked from one that has imported the libraries. Cells are kept as they are found, so that a sweep goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from optibench import builder, host, inputs, models, plugins, score, targets, worker
from optibench.answers import Answers
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.pipeline import mislabelled
from optibench.plan import Request, plan_of
from optibench.values import Artifact, Build, Case, Executed, Job, Parity
from tests.coverage.zoo import ZOO, Architecture, write_tones

KEPT = Path(__file__).parent.parent.parent / "reports" / "coverage" / "cells.jsonl"
CELLS = (
    *("pytorch/fp32", "onnxruntime/fp32", "openvino/fp32"),
    *("pytorch/int8-dynamic", "pytorch/int8-weights"),
    *("onnxruntime/int8", "onnxruntime/int8-dynamic", "onnxruntime/int8-weights"),
    *("openvino/int8", "openvino/int8-weights"),
)
LEAST = {"fp32": 0.9999, "int8-weights": 0.95, "int8": 0.866, "int8-dynamic": 0.866}
"""The mean cosine to the reference, both less the reference's mean answer, that a cell must reach: nine tenths of the
answers' variance with int8 weights, three quarters in int8. Random weights are the hardest there are to quantize, since
all of them matter alike."""
LIMIT_SECONDS = 180
"""Processor time of a cell."""
LENGTHS = {"vision": (), "images and text": (), "audio": (16_000,)}
PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "torchao")


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One build of one architecture: how near its answers are, or the reason why there are none."""

    architecture: str
    cell: str
    reason: str = ""
    cosine: float | None = None
    longest: int | None = None
    """Tokens that the graph fills every text up to (None: it takes any length as it is)."""
    seconds: float = 0.0
    """Of processor time."""
    date: str = ""

    @property
    def works(self) -> bool:
        return self.cosine is not None and self.cosine >= LEAST[self.cell.partition("/")[2]]


class Sweep:
    """One architecture: its checkpoint, inputs and reference answers, and then cell after cell."""

    def __init__(self, architecture: Architecture, folder: Path) -> None:
        self.folder = folder
        self.cache = Cache(folder / "cache")
        written = architecture.write(folder / "model")
        model = models.resolve(str(written), task=architecture.task)
        known = targets.load()
        dataset = str(write_tones(folder / "sounds")) if architecture.group == "audio" else None
        request = Request(model=str(written), lengths=LENGTHS.get(architecture.group, (32,)), dataset=dataset, limit=48)
        self.plan = plan_of(request, model, known, host.describe())
        self.rows = inputs.rows_of(model, self.plan.workload)
        made = builder.MakeInputs(cache=str(folder / "cache"), model=model, workload=self.plan.workload)
        self._asked(builder.answer(made, lambda text: None))
        entry = self.cache.get(inputs.recipe(model, self.plan.workload, self.rows.sources))
        assert entry is not None, "it was made just now"
        self.order, self.inputs = entry.facts["order"], self.cache.path(entry.key)
        self.reference: Any = None

    def cell(self, name: str) -> tuple[Parity, int | None]:
        """Builds, runs and compares; and what length of text the build has, if it has one alone. Raises OptibenchError
        with the reason why it does not work."""
        backend, _, precision = name.partition("/")
        case = Case(target="cpu", backend=backend, precision=precision)
        build = self.plan.build(case, str(self.inputs), self.rows.sources.calibration.sha256)
        artifact = self._artifact(build)
        found = self._answers(case, build, artifact)
        if name == CELLS[0]:
            self.reference = found
        parity = self._parity(found)
        if parity is None:
            raise OptibenchError(f"its answers have the shape {found.shape}, PyTorch's {self.reference.shape}")
        return parity, artifact.longest

    def _artifact(self, build: Build) -> Artifact:
        reply = self._asked(builder.answer(builder.Prepare(cache=str(self.cache.root), build=build), lambda text: None))
        return msgspec.convert(reply["artifact"], Artifact)

    def _answers(self, case: Case, build: Build, artifact: Artifact) -> Any:
        job = Job(
            case=case, model=build.model, target=build.target, round=1, artifact=artifact, inputs=build.inputs,
            shapes=self.plan.workload.shapes, threads=1,
        )  # fmt: skip
        opened = worker.Open(
            job=job,
            backend=plugins.load("backend", case.backend).__name__,
            task=plugins.load("task", build.model.ref.task).__name__,
            started_ns=time.perf_counter_ns(),
        )
        out = self.folder / case.name.replace("/", "-")
        at_work = worker.Worker()
        try:
            self._asked(at_work.answer(opened))
            evaluation = str(Path(build.inputs) / "evaluation.npz")
            judged = self._asked(at_work.answer(worker.Judge(evaluation=evaluation, out=str(out))))
        finally:
            at_work.close()
        executed = msgspec.convert(judged["executed"], Executed)
        if wrong := mislabelled(case.precision, executed.precision):
            raise OptibenchError(wrong)
        return Answers.of_file(judged, self.order).rows()

    def _parity(self, found: Any) -> Parity | None:
        """Less the mean answer, so that outputs that hardly vary do not look alike for that."""
        mean = self.reference.mean(axis=0)
        if found is self.reference and not (abs(found - mean) > 1e-3 * max(1e-6, abs(found).max())).any():
            raise OptibenchError("the outputs of this small model hardly vary, so nothing could be compared")
        if found.shape != self.reference.shape:
            return None
        return score.parity_of(self.plan.model.ref.task, Answers.of(found - mean), Answers.of(self.reference - mean))

    def _asked(self, reply: dict[str, Any]) -> dict[str, Any]:
        if "error" in reply:
            raise OptibenchError(reply["error"])
        return reply


def run_cells(name: str, wanted: Sequence[str], folder: Path, replies: Connection) -> None:
    """The forked process: sends a Cell for each wanted one. Too much processor time ends it (SIGPROF)."""
    log = os.open("/dev/null", os.O_WRONLY)
    os.dup2(log, 1)
    if "OPTIBENCH_SWEEP_LOG" not in os.environ:
        os.dup2(log, 2)
    sweep: Sweep | None = None
    for cell in dict.fromkeys((CELLS[0], *wanted)):  # the reference answers first, whatever is wanted
        signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
        start, parity, longest, reason = time.process_time(), None, None, ""
        try:
            sweep = sweep or Sweep(ZOO[name], folder)
            parity, longest = sweep.cell(cell)
        except Exception as error:
            if not isinstance(error, OptibenchError):
                import traceback

                traceback.print_exc()
            reason = " ".join(str(error).split()) or type(error).__name__
        found = Cell(
            architecture=name,
            cell=cell,
            reason=reason,
            cosine=parity.cosine if parity else None,
            longest=longest,
            seconds=round(time.process_time() - start, 1),
            date=today(),
        )
        replies.send_bytes(msgspec.json.encode(found))
        if cell == CELLS[0] and not found.works:
            break
    replies.close()
    os._exit(0)


def cells_of(name: str, wanted: Sequence[str]) -> Iterable[Cell]:
    """The architecture's cells as they are found. One that ends its process has failed, and the others go on."""
    left = list(wanted)
    with tempfile.TemporaryDirectory() as folder:
        while left:
            replies, theirs = multiprocessing.Pipe(duplex=False)
            if not (child := os.fork()):
                replies.close()
                run_cells(name, left, Path(folder), theirs)
            theirs.close()
            for found in _received(replies):
                if found.cell == CELLS[0] and not found.works:  # nothing to compare with
                    yield from (msgspec.structs.replace(found, cell=cell) for cell in left)
                    left.clear()
                elif found.cell in left:
                    left.remove(found.cell)
                    yield found
            _, status = os.waitpid(child, 0)
            if left and status:
                ended = os.WTERMSIG(status)
                timeout = ended == signal.SIGPROF
                reason = f"timeout ({LIMIT_SECONDS} s)" if timeout else f"the process died of signal {ended}"
                yield Cell(architecture=name, cell=left.pop(0), reason=reason, date=today())


def _received(replies: Connection) -> Iterable[Cell]:
    with replies:
        while True:
            try:
                yield msgspec.json.decode(replies.recv_bytes(), type=Cell)
            except EOFError:
                return


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def kept(file: Path = KEPT) -> dict[tuple[str, str], Cell]:
    """The cells found so far; of several for one cell the last."""
    lines = file.read_text().splitlines() if file.exists() else []
    cells = [msgspec.json.decode(line, type=Cell) for line in lines]
    return {(cell.architecture, cell.cell): cell for cell in cells}


def main(args: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *ZOO],
        metavar="NAME",
        help="architectures to run again (default: what is not there yet)",
    )
    parser.add_argument("--shard", default="1/1", help="every Nth architecture from the Kth on: K/N")
    parser.add_argument("--failed", action="store_true", help="run failed cells again")
    parser.add_argument("--cell", action="append", help="only these, such as onnxruntime/int8")
    parser.add_argument("--out", type=Path, default=KEPT)
    asked = parser.parse_args(args)
    import_all()
    part, parts = map(int, asked.shard.split("/"))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for name in (asked.names or list(ZOO))[part - 1 :: parts]:
        there = {cell for (of, cell), one in kept(asked.out).items() if of == name and (one.works or not asked.failed)}
        wanted = [c for c in asked.cell or CELLS if asked.names or c not in there]
        for found in cells_of(name, wanted):
            with asked.out.open("a") as file:
                file.write(json.dumps(msgspec.to_builtins(found)) + "\n")
            said = f"{found.cosine:.4f}" if found.cosine is not None else found.reason
            print(f"{found.architecture:28} {found.cell:24} {found.seconds:6.1f} s  {said[:150]}", flush=True)


def import_all() -> None:
    """What every forked process needs; nothing that has threads of its own yet."""
    import nncf  # noqa: F401
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401
    import openvino  # noqa: F401
    import torch
    import torchao  # noqa: F401
    import transformers.exporters  # noqa: F401

    torch.set_num_threads(1)


if __name__ == "__main__":
    main(sys.argv[1:])
