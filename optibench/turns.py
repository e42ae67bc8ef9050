"""One round: every case's worker alive at once, taking turns in short bursts.

What disturbs the machine hits all alike, and a comparison is made of turns that lie milliseconds apart. Only one
worker runs at a time; this process sleeps meanwhile. The idea is duet benchmarking's (Bulej and others, ICPE 2020)
and randomized interleaved trials' (Abedi and Brecht, ICPE 2017); docs/method.md tells it whole.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from optibench import energy, plugins, worker
from optibench.execute.base import Lane, LaneDied, Launch
from optibench.gpu_values import Energy, GpuReading
from optibench.limits import Gauging
from optibench.values import Burst, Executed, Job, Measurement, Series, Shape, Workload

BURST_LIMIT_SECONDS = float(os.environ.get("OPTIBENCH_BURST_LIMIT_SECONDS", "30"))
"""A burst's limit on top of what the first call lets expect. A very slow machine may want more."""

Say = Callable[[str], None]
Probe = Callable[[Job, bool], str | None]
"""Asks a job's device anew: why it is of no use any more, or None. The second: whether a worker on it died or hung, and
did not just report an error."""


@dataclass
class Turner:
    """A job of the round and what it has shown so far."""

    job: Job
    lane: Lane | None = None
    opened: dict[str, Any] = field(default_factory=dict)
    series: dict[Shape, Series] = field(default_factory=dict)
    bursts: dict[Shape, list[Burst]] = field(default_factory=dict)
    readings: dict[Shape, list[GpuReading]] = field(default_factory=dict)
    energies: dict[Shape, Energy] = field(default_factory=dict)
    judged: dict[str, Any] | None = None
    status: Literal["ok", "skipped", "failed"] = "ok"
    reason: str | None = None
    died: bool = False
    """Whether its worker did, or hung."""
    probed: bool = False
    """Whether its device was asked anew after it had failed."""
    alone: bool = True

    @property
    def alive(self) -> bool:
        return self.status == "ok" and self.lane is not None

    def ask(self, request: Any, limit: float) -> dict[str, Any] | None:
        """The worker's reply; None, and this job is out of the round, if it reports an error or dies."""
        assert self.lane is not None
        try:
            reply = self.lane.ask(request, limit)
        except LaneDied as error:
            self.died = True
            self.leave("failed", str(error))
            return None
        if "error" in reply:
            self.leave(reply["kind"], reply["error"])
            return None
        return reply

    def leave(self, status: Literal["skipped", "failed"], reason: str) -> None:
        """Takes the job out of the round: its turns go to the others."""
        self.status, self.reason = status, reason
        if self.lane:
            self.lane.close()
            self.lane = None

    def measurement(self) -> Measurement | None:
        """What was measured, if the job came through the round."""
        if self.status != "ok" or not self.series:
            return None
        return Measurement(
            load_seconds=self.opened["load_seconds"],
            cold_start_seconds=self.opened["cold_start_seconds"],
            alone=self.alone,
            executed=msgspec.convert(self.judged["executed"], Executed) if self.judged else None,
            series=tuple(
                msgspec.structs.replace(
                    series,
                    bursts=tuple(self.bursts[shape]),
                    readings=tuple(self.readings.get(shape, ())),
                    energy=self.energies.get(shape),
                )
                for shape, series in self.series.items()
            ),
        )


def run_round(
    jobs: Sequence[Job],
    launch: Launch,
    workload: Workload,
    *,
    seed: int,
    judge_in: Path | None = None,
    together: int = 1,
    seconds: float | None = None,
    gaugings: Sequence[Gauging] = (),
    probe: Probe = lambda job, died: None,
    say: Say = lambda text: None,
) -> list[Turner]:
    """Runs one round of ``jobs`` and gives each job's outcome, in the order given.

    ``together``: how many are launched at a time (1: load times are comparable). ``seconds``: how long loading,
    warming up and the blocks may take; what does not fit in is left out of the blocks (``blocks_of``).
    ``gaugings`` measure the machine's limits after some of the blocks; their time does not count as the blocks'.
    ``judge_in``: folder for the answers to each job's evaluation inputs, asked (twins excepted) after the blocks, as
    the energy of a call is. ``probe`` is asked once a job has failed: whose device is gone leaves with it.
    """
    turners = [Turner(job=job, alone=together == 1) for job in jobs]
    start = time.monotonic()
    try:
        _open_all(turners, launch, together, say, probe)
        for turner in turners:
            for shape in sorted(turner.job.shapes, key=lambda s: s.batch * max(s.length, 1)):
                if turner.alive and (reply := turner.ask(worker.Warm(shape=shape), _limit(turner, shape))):
                    turner.series[shape] = msgspec.convert(reply["series"], Series)
                    turner.bursts[shape] = []
            _leave_lost(turners, probe)
        rng = random.Random(seed)  # noqa: S311 (an order, no secret)
        left = None if seconds is None else seconds - (time.monotonic() - start)
        run_blocks(turners, workload, rng, left, say, gaugings, probe)
        if judge_in:
            _spend_all(turners, say, probe)
            _judge_all(turners, judge_in, say, probe)
    finally:
        for lane in [turner.lane for turner in turners] + [gauging.lane for gauging in gaugings]:
            if lane:
                lane.close()
    return turners


def _leave_lost(turners: Sequence[Turner], probe: Probe) -> None:
    """After a failure that was not looked into: the jobs whose device is gone leave too, instead of each hanging until
    its limit."""
    failed = [turner for turner in turners if turner.status == "failed" and not turner.probed]
    for turner in failed:
        turner.probed = True
    for device in {turner.job.device for turner in failed}:
        mine = [turner for turner in turners if turner.job.device == device and turner.status == "ok"]
        died = any(turner.died for turner in failed if turner.job.device == device)
        if mine and (reason := probe(mine[0].job, died)):
            for turner in mine:
                turner.leave("failed", reason)


def _open_all(turners: Sequence[Turner], launch: Launch, together: int, say: Say, probe: Probe) -> None:
    def opened(turner: Turner, started: int) -> None:
        job = turner.job
        request = worker.Open(
            job=job,
            backend=plugins.load("backend", job.case.backend).__name__,
            task=plugins.load("task", job.model.ref.task).__name__,
            started_ns=started,
        )
        turner.opened = turner.ask(request, job.target.open_limit_seconds) or {}

    # Processes start in this thread, since a worker ends with the thread that started it; waiting is done in threads.
    with ThreadPoolExecutor(together) as pool:
        for start in range(0, len(turners), together):
            _leave_lost(turners, probe)
            group = [turner for turner in turners[start : start + together] if turner.status == "ok"]
            if not group:
                continue
            say(f"loading {', '.join(turner.job.case.name for turner in group)}")
            waiting = []
            try:
                for turner in group:
                    started = time.perf_counter_ns()
                    turner.lane = launch(turner.job)
                    waiting.append(pool.submit(opened, turner, started))
                for wait in waiting:
                    wait.result()
            except BaseException:  # Ctrl-C: leaving the pool waits for its threads, so what they wait for must end
                for turner in group:
                    if turner.lane:
                        turner.lane.close()
                raise


def run_blocks(
    turners: Sequence[Turner],
    workload: Workload,
    rng: random.Random,
    seconds: float | None,
    say: Say,
    gaugings: Sequence[Gauging] = (),
    probe: Probe = lambda job, died: None,
) -> None:
    """The blocks of a round: in each, every living worker has one burst at every shape, in a fresh random order. A
    shape that has fewer blocks than another lets some pass, evenly."""
    wanted = dict.fromkeys(workload.shapes, workload.blocks)
    done, spent = dict.fromkeys(workload.shapes, 0), dict.fromkeys(workload.shapes, 0.0)
    block, least = 0, workload.least_calls
    while block < (blocks := max(wanted.values())):
        say(f"block {block + 1} of {blocks}")
        shapes = [shape for shape in workload.shapes if done[shape] * blocks < wanted[shape] * (block + 1)]
        rng.shuffle(shapes)
        for shape in shapes:
            start = time.monotonic()
            living = [turner for turner in turners if turner.alive]
            rng.shuffle(living)
            for turner in living:
                if not turner.alive:  # its device went while another had its turn
                    continue
                request = worker.Turn(shape=shape, block=block, seconds=workload.burst_seconds, least=least)
                if reply := turner.ask(request, _limit(turner, shape)):
                    turner.bursts[shape].append(msgspec.convert(reply["burst"], Burst))
                    if reading := reply.get("reading"):
                        turner.readings.setdefault(shape, []).append(msgspec.convert(reading, GpuReading))
                else:
                    _leave_lost(turners, probe)
            done[shape] += 1
            spent[shape] += time.monotonic() - start
        for gauging in gaugings if any(turner.alive for turner in turners) else ():
            gauging.between(block, blocks)
        block += 1
        if seconds is not None:
            wanted = blocks_of(workload, {shape: spent[shape] / done[shape] for shape in done}, seconds)


def blocks_of(workload: Workload, cost: dict[Shape, float], seconds: float) -> dict[Shape, int]:
    """How many blocks each shape has, by what one of them costs in seconds: the least, and of the time that is left the
    same for each; what quick ones do not need of theirs goes to the slower."""
    least = workload.least_blocks
    left, found = max(0.0, seconds - least * sum(cost.values())), {}
    for number, shape in enumerate(sorted(cost, key=lambda shape: cost[shape])):
        more = min(workload.blocks - least, int(left / (len(cost) - number) / max(cost[shape], 1e-9)))
        found[shape] = least + more
        left -= more * cost[shape]
    return found


def _limit(turner: Turner, shape: Shape) -> float:
    """How long a burst may take before the worker counts as hung: far above what the first call took."""
    first = turner.series[shape].first_call_seconds if shape in turner.series else turner.opened["first_call_seconds"]
    rows = max(1, shape.batch * max(shape.length, 1)) / max(1, _size(turner.job.shapes[0]))
    return BURST_LIMIT_SECONDS + 20 * float(first) * max(1.0, rows) * max(1, shape.new_tokens)


def _size(shape: Shape) -> int:
    return shape.batch * max(shape.length, 1)


def _spend_all(turners: Sequence[Turner], say: Say, probe: Probe) -> None:
    for turner in turners:
        for shape in turner.series if turner.job.device and turner.job.case.copy == 0 else ():
            if turner.alive:
                say(f"energy of {turner.job.case.name}")
                limit = 2 * energy.SECONDS + energy.PATIENCE_SECONDS + _limit(turner, shape)
                reply = turner.ask(worker.Spend(shape=shape, seconds=energy.SECONDS), limit)
                if reply and reply["energy"]:
                    turner.energies[shape] = msgspec.convert(reply["energy"], Energy)
        _leave_lost(turners, probe)


def _judge_all(turners: Sequence[Turner], folder: Path, say: Say, probe: Probe) -> None:
    for turner in turners:
        if turner.alive and turner.job.case.copy == 0:
            say(f"accuracy of {turner.job.case.name}")
            out = folder / turner.job.case.name.replace("/", "-")
            evaluation = Path(turner.job.inputs) / "evaluation.npz"
            turner.judged = turner.ask(worker.Judge(evaluation=str(evaluation), out=str(out)), 3600.0)
            _leave_lost(turners, probe)
