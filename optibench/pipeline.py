"""The pipe itself: inputs, artifacts, rounds of turns, records. The plan comes in, records go to the run's folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from optibench import comparison, host, score, targets
from optibench.build import Workshop
from optibench.cache import Cache
from optibench.errors import CaseFailed, Unsupported
from optibench.execute.base import Lane, LaneDied, Launch
from optibench.execute.process import ProcessLane
from optibench.plan import Plan, groups_of, twin_of
from optibench.store import Run
from optibench.turns import Turner, run_round
from optibench.values import Artifact, Case, Host, Job, Record, Score, Status

ROUND_SECONDS_LEFT = 1.15
"""A further round is begun only if the last one's time fits in the budget, give or take."""
FLOATING = ("fp32", "tf32", "bf16", "fp16")

Say = Callable[[str], None]


@dataclass
class Pipeline:
    """One run: ``measure`` fills the run's folder with records until every comparison is decided."""

    plan: Plan
    run: Run
    cache: Cache
    host: Host
    say: Say
    launch: Launch | None = None
    records: list[Record] = field(default_factory=list)
    _reference_answers: Any = None

    def __post_init__(self) -> None:
        self.threads = host.usable_cores()
        self.launch = self.launch or self._launch_process

    def measure(self) -> None:
        """Skips, builds and rounds, in that order; goes on from the records that there are already."""
        told = {record.case for record in self.records if record.status != "ok"}
        for planned in self.plan.cases:
            if planned.skip is not None and planned.case not in told:
                self._keep(self._record(planned.case, 0, "skipped", planned.skip))
        if not self.plan.runnable:
            return
        with Workshop(self.plan, self.cache, self.run.logs / "builder.log", self.say) as workshop:
            self.sources = workshop.sources()
            self.inputs = workshop.inputs()
            artifacts = self._artifacts(workshop, [case for case in self.plan.runnable if case not in told])
        if artifacts:
            self._rounds(artifacts)

    def _artifacts(self, workshop: Workshop, cases: Sequence[Case]) -> dict[Case, Artifact]:
        """Every case's artifact; those that cannot be built become records with the reason."""
        made: dict[Case, Artifact] = {}
        for number, case in enumerate(cases, 1):
            self.say(f"building {case.name} ({number} of {len(cases)})")
            try:
                made[case] = workshop.artifact(case)
            except Unsupported as error:
                self._keep(self._record(case, 0, "skipped", str(error)))
            except (CaseFailed, LaneDied) as error:
                self._keep(self._record(case, 0, "failed", str(error)))
        return made

    # Measuring

    def _rounds(self, artifacts: dict[Case, Artifact]) -> None:
        workload, start = self.plan.workload, time.monotonic()
        done = max((record.round for record in self.records if record.measurement), default=0)
        for number in range(done + 1, workload.max_rounds + 1):
            if number > workload.rounds and not comparison.undecided(self.records):
                return  # a finished run that is resumed
            left = workload.budget_seconds - (time.monotonic() - start)
            began = time.monotonic()
            if not self._round(number, artifacts, left / max(1, workload.rounds - number + 1)):
                return
            took = time.monotonic() - began
            still = comparison.undecided(self.records)
            if number >= workload.rounds and not still:
                return
            left = workload.budget_seconds - (time.monotonic() - start)
            if left < took * ROUND_SECONDS_LEFT:
                if still or number < workload.rounds:
                    names = ", ".join(case.name for case in still) or "all"
                    self.say(f"the budget is used up after {number} rounds; undecided: {names} (more: --budget)")
                return

    def _round(self, number: int, artifacts: dict[Case, Artifact], seconds: float) -> bool:
        """One round of all living cases; whether there was anything to measure."""
        broken = {record.case for record in self.records if record.status != "ok"}
        reference = self.plan.reference
        cases = [case for case in artifacts if case not in broken]
        if reference in cases:
            cases.append(twin_of(reference))
        if not cases:
            return False
        found = {case: artifacts[comparison.untwinned(case)] for case in cases}
        groups = groups_of(cases, reference, found, host.free_bytes())
        folder = self.cache.path(self.inputs.key)
        with tempfile.TemporaryDirectory(prefix=".answers-", dir=self.run.path) as answers:
            for group, members in enumerate(groups):
                turners = run_round(
                    [self._job(case, number, found[case], folder) for case in members],
                    self._launcher(),
                    self.plan.workload,
                    seed=self.plan.workload.seed * 10_007 + number * 101 + group,
                    judge_in=Path(answers) if self._wants_judging(members) else None,
                    evaluation=folder / "evaluation.npz",
                    together=1 if number == 1 else min(4, self.threads),
                    seconds=seconds / len(groups),
                    say=lambda text: self.say(f"round {number} of {max(number, self.plan.workload.rounds)}: {text}"),
                )
                # Records are written once the group is through: a comparison needs both of its sides.
                for turner in sorted(turners, key=lambda t: t.job.case != reference):
                    self._keep(self._record_of(turner, number, group))
        return True

    def _wants_judging(self, members: Sequence[Case]) -> bool:
        judged = {record.case for record in self.records if record.answers_sha256}
        return any(case not in judged and not case.copy for case in members)

    def _job(self, case: Case, number: int, artifact: Artifact, folder: Path) -> Job:
        return Job(
            case=case,
            model=self.plan.model,
            target=self.plan.target(case.target),
            round=number,
            artifact=artifact,
            inputs=str(folder),
            shapes=self.plan.workload.shapes,
            threads=self.threads,
            seed=self.plan.workload.seed,
            trust_remote_code=self.plan.request.trust_remote_code,
        )

    def _launcher(self) -> Launch:
        assert self.launch is not None
        return self.launch

    def _launch_process(self, job: Job) -> Lane:
        log = self.run.logs / (job.case.name.replace("/", "-").replace("#", "-twin") + ".log")
        return ProcessLane("optibench.worker", targets.environment(job.target, job.threads), log)

    # Records

    def _record_of(self, turner: Turner, number: int, group: int) -> Record:
        case, measurement = turner.job.case, turner.measurement()
        status, reason = turner.status, turner.reason
        scores: tuple[Score, ...] = ()
        parity = None
        executed = measurement.executed if measurement else None
        if executed and (other := mislabelled(case.precision, executed.precision)):
            status, reason, measurement = "failed", other, None
        elif turner.judged:
            answers = score.answers_from_file(turner.judged, self.inputs.facts["order"])
            if case == self.plan.reference and self._reference_answers is None:
                self._reference_answers = answers.copy()
            task = self.plan.model.ref.task
            scores = score.scores_of(task, answers, self.inputs.facts["labels"])
            if self._reference_answers is not None:
                parity = score.parity_of(task, answers, self._reference_answers)
        record = self._record(case, number, status, reason)
        return msgspec.structs.replace(
            record,
            group=group,
            artifact=turner.job.artifact,
            measurement=measurement,
            scores=scores,
            parity=parity,
            answers_sha256=turner.judged["answers_sha256"] if turner.judged else None,
        )

    def _record(self, case: Case, number: int, status: Status, reason: str | None) -> Record:
        sources = getattr(self, "sources", None)
        return Record(
            case=case,
            model=self.plan.model.ref,
            workload=self.plan.workload,
            round=number,
            threads=self.threads,
            status=status,
            reason=reason,
            host=self.host,
            dataset=sources.evaluation if sources else None,
            calibration=sources.calibration if sources else None,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _keep(self, record: Record) -> None:
        self.run.append(record)
        self.records.append(record)


def mislabelled(asked: str, executed: str) -> str | None:
    """Why a case must not stand under its label: the runtime ran another precision. None if it ran what was asked,
    or if it does not say (``none``, ``other``)."""
    if executed in ("none", "other"):
        return None
    if asked.endswith("-weights"):
        fine = executed in (*FLOATING, "weights")
    else:
        fine = executed == asked.partition("-")[0]
    return None if fine else f"asked for {asked}, but {executed} was executed"
