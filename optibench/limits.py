"""What the machine reaches at best, measured in the run itself: between a round's blocks, in turns with the cases.

A matrix product for each precision that the cases run in, and a copy of more than any cache holds. A few bursts of
each, in one process a target, which sleeps like the others meanwhile and ends with the round.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from optibench import host, plugins, worker
from optibench.errors import OptibenchError
from optibench.execute.base import Lane, Launch
from optibench.values import LIMITS, Case, Gauged, Job, Workload

VISITS = 3
"""Blocks after which the limits are measured, spread over the round: the best counts, so a few do."""
LIMIT_SECONDS = 60.0
ROOM_BYTES = 1_500_000_000
"""PyTorch, its matrices and what is copied take a third of it: a case must not run out of memory because of them."""
MEMORY = "memory"
COUNT = "multiply-adds"
"""Stands in place of a limit's name in the record that says why the model's arithmetic is not known."""


def case_of(target: str, name: str) -> Case:
    """What the record of a target's limit is filed under."""
    return Case(target=target, backend=LIMITS, precision=name)


def limit_of(precision: str) -> str:
    """The precision whose arithmetic limits a build, by its label or by what was executed: weights alone in integers
    are multiplied in fp32."""
    return "fp32" if precision.endswith("weights") else precision.partition("-")[0]


@dataclass
class Gauging:
    """One target's limits. ``job`` is any of the target's: it says where and how workers are started."""

    job: Job
    names: tuple[str, ...]
    backend: str
    launch: Launch
    workload: Workload
    lane: Lane | None = None
    visits: int = 0
    seconds: float = 0.0
    """Spent so far."""
    gauged: dict[str, list[Gauged]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def between(self, block: int, blocks: int) -> None:
        """After a block of so many: a burst at each limit, if it is this block's turn. Never raises an error of its own
        making: a limit that cannot be measured is a reason in its record."""
        if self.visits == VISITS or block % max(1, blocks // VISITS):
            return
        start = time.monotonic()
        if not self.visits and host.free_bytes() < ROOM_BYTES:
            self._give_up(f"only {host.free_bytes() / 1e9:.1f} GB of memory were free beside the cases")
        for name in self.names:
            if name in self.names and name not in self.failed:  # the last one may have ended it for all
                self._turn(name, block)
        self.visits += 1
        if self.visits == VISITS:
            self.close()
        self.seconds += time.monotonic() - start

    def _turn(self, name: str, block: int) -> None:
        request = worker.Gauge(
            backend=self.backend,
            target=self.job.target,
            threads=self.job.threads,
            limit=name,
            block=block,
            seconds=self.workload.burst_seconds,
        )
        try:
            self.lane = self.lane or self.launch(self.job)
            reply = self.lane.ask(request, LIMIT_SECONDS)
        except (OptibenchError, OSError) as error:
            self.close()
            self._give_up(str(error))
            return
        if "error" not in reply:
            self.gauged.setdefault(name, []).append(msgspec.convert(reply["gauged"], Gauged))
        elif name not in self.gauged:
            self.failed[name] = reply["error"]

    def _give_up(self, reason: str) -> None:
        """Whatever has no burst yet gets none."""
        self.failed |= {name: reason for name in self.names if name not in self.gauged}
        self.names = ()

    def close(self) -> None:
        """Ends the process."""
        if self.lane:
            self.lane.close()
            self.lane = None

    @property
    def target(self) -> str:
        """The target's name."""
        return self.job.case.target


def gaugings(jobs: Sequence[Job], launch: Launch, workload: Workload, told: Collection[Case] = ()) -> list[Gauging]:
    """One for each target among the jobs of which a limit is not told yet: by the first of its backends that has a
    gauge, else by PyTorch, which every installation has."""
    found = []
    for target in {job.case.target: job.target for job in jobs}.values():
        mine = [job for job in jobs if job.case.target == target.name]
        wanted = dict.fromkeys((*(limit_of(job.case.precision) for job in mine), MEMORY))
        names = tuple(name for name in wanted if case_of(target.name, name) not in told)
        if not names:
            continue
        modules = [plugins.load("backend", name) for name in dict.fromkeys(job.case.backend for job in mine)]
        module = next((m for m in modules if hasattr(m, "gauge")), plugins.load("backend", "pytorch"))
        gauging = Gauging(
            job=msgspec.structs.replace(mine[0], case=case_of(target.name, "all")),
            names=names,
            backend=module.__name__,
            launch=launch,
            workload=workload,
        )
        if reason := module.probe(target):
            gauging.failed = dict.fromkeys(gauging.names, str(reason))
        found.append(gauging)
    return found
