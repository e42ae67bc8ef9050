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

from optibench import doctor, environment, gpus, host, limits, quiet, samples, schedule, score, targets
from optibench.answers import Answers
from optibench.build import Workshop
from optibench.cache import Cache, Entry
from optibench.checks import gpu
from optibench.errors import CaseFailed, OptibenchError, Unsupported
from optibench.execute.base import Lane, LaneDied, Launch
from optibench.execute.process import ProcessLane
from optibench.gpu_values import GpuRound
from optibench.nvml import Look
from optibench.plan import Plan
from optibench.progress import duration
from optibench.store import Run
from optibench.tasks.base import truths_of
from optibench.turns import Turner, run_round
from optibench.values import Artifact, Case, Finding, Host, Job, Record, Score, Status, mislabelled

Say = Callable[[str], None]
Enough = Callable[[Sequence[Record]], bool]


@dataclass
class Pipeline:
    """One run: ``measure`` fills the run's folder with records until every comparison is decided."""

    plan: Plan
    run: Run
    cache: Cache
    host: Host
    say: Say
    warn: Say = lambda text: None
    """Says what belongs on the report too."""
    launch: Launch | None = None
    records: list[Record] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()
    arithmetic: dict[str, Any] = field(default_factory=dict)
    suspect: set[str] = field(default_factory=set)
    """UUIDs of GPUs on which a process of this run died or hung: from then on CUDA is asked before each further job."""
    _reference_answers: Answers | None = None

    def __post_init__(self) -> None:
        self.threads = host.usable_cores()
        self.launch = self.launch or self._launch_process

    def measure(self) -> None:
        """Skips, builds and rounds, in that order; goes on from the records that there are already."""
        began = time.monotonic()
        self.findings = self._findings(None, self._look())
        told = {record.case for record in self.records if record.status != "ok"}
        for planned in self.plan.cases:
            if planned.skip is not None and planned.case not in told:
                self._keep(self._record(planned.case, 0, "skipped", planned.skip))
        if not self.plan.runnable:
            return
        with Workshop(self.plan, self.cache, self.run.logs / "builder.log", self.say) as workshop:
            self.sources = workshop.sources()
            self.inputs = self._inputs(workshop)
            self._count(workshop)
            estimate = workshop.estimate()
            self.say(estimate.sentence)
            artifacts = self._artifacts(workshop, [case for case in self.plan.runnable if case not in told])
        self._leave_out_single_sides(artifacts)
        if artifacts:
            spent = time.monotonic() - began
            self._rounds(artifacts, schedule.Budget(self.plan.workload, estimate.process_seconds, spent))

    def more(self, cases: Sequence[Case], seconds: float, enough: Enough) -> None:
        """Further rounds of just these cases (on both sides, in a run of two) and the reference, one at least: until
        ``enough`` says so of all records, as many were made as a run may have, or the time is used up.

        Error: what would be measured is no longer what the records are of.
        """
        reference = self.plan.reference
        wanted = {*cases, *(self.plan.counterpart(case) for case in cases), reference}
        with Workshop(self.plan, self.cache, self.run.logs / "builder.log", self.say) as workshop:
            self.sources = workshop.sources()
            self.inputs = self._inputs(workshop)
            pace = workshop.estimate().process_seconds
            artifacts = self._artifacts(workshop, [case for case in self.plan.runnable if case in wanted])
        for record in self.records:
            made = artifacts.get(samples.untwinned(record.case))
            if made and record.artifact and record.artifact.sha256 != made.sha256:
                raise OptibenchError(
                    f"{record.case.name} was built anew and is not the build that the run measured (sha256 "
                    f"{made.sha256[:12]}, was {record.artifact.sha256[:12]}): measure the whole run again."
                )
        budget = schedule.Budget(msgspec.structs.replace(self.plan.workload, budget_seconds=seconds), pace)
        done = max((record.round for record in self.records if record.measurement), default=0)
        for number in range(done + 1, done + 1 + 2 * self.plan.workload.max_rounds):
            held, _ = schedule.cases_of_round(
                self.records, self._living(artifacts), reference, self.plan.workload, 1, schedule.ANY
            )
            if number > done + 1 and len(held) > budget.room:
                self.say(f"the time for further rounds is used up after {number - 1 - done}")
                return
            if not held:
                return
            began = time.monotonic()
            apart = self._round(number, held, artifacts, budget)
            budget.took(len(held), time.monotonic() - began - apart)
            if enough(self.records):
                return

    def _inputs(self, workshop: Workshop) -> dict[str, Entry]:
        """The inputs of each side, by its variant."""
        sides = {case.variant: self.plan.side(case) for case in self.plan.runnable}
        return {variant: workshop.inputs(side.model) for variant, side in sides.items()}

    def _count(self, workshop: Workshop) -> None:
        """The model's multiply-adds, which every record holds; where they cannot be counted, a record says why."""
        try:
            self.arithmetic = workshop.arithmetic()
        except OptibenchError as error:
            case = limits.case_of(self.plan.runnable[0].target, limits.COUNT)
            if case not in {record.case for record in self.records}:
                self._keep(self._record(case, 0, "skipped", str(error)))

    def _living(self, artifacts: dict[Case, Artifact]) -> list[Case]:
        """The cases that have not broken, on either side."""
        broken = {record.case for record in self.records if record.status != "ok"}
        return [
            case
            for case in artifacts
            if case not in broken and (case == self.plan.reference or self.plan.counterpart(case) not in broken)
        ]

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
                if isinstance(error, LaneDied):
                    self.suspect.add(self.plan.devices.get(case.target, ""))
                self._keep(self._record(case, 0, "failed", str(error)))
        return made

    def _leave_out_single_sides(self, artifacts: dict[Case, Artifact]) -> None:
        """In a run of two sides a case that only one of them has is no comparison, and its turns go to the others."""
        recorded = {record.case for record in self.records}
        for case in [case for case in artifacts if case != self.plan.reference]:
            other = self.plan.counterpart(case)
            if other and other not in artifacts:
                made = artifacts.pop(case)
                if case not in recorded:  # else it was measured before its other side broke, in a run that is resumed
                    reason = f"{other.name} could not be built, so there is nothing to compare it with"
                    record = self._record(case, 0, "skipped", reason)
                    self._keep(msgspec.structs.replace(record, artifact=made))  # it could be built: pairs.py tells so

    # Measuring

    def _rounds(self, artifacts: dict[Case, Artifact], budget: schedule.Budget) -> None:
        """Rounds until every comparison is decided or the budget is used up (schedule.py says what each holds)."""
        workload, reference = self.plan.workload, self.plan.reference
        patience = quiet.Patience(self.plan.request.wait_quiet_seconds, self.say, quiet.busy_share)
        first = 1 + max((record.round for record in self.records if record.measurement), default=0)
        # A round that others disturbed is repeated, so there may be more than the most that count.
        for number in range(first, 2 * workload.max_rounds + 1):
            living = self._living(artifacts)
            room = schedule.ANY
            if number > first:
                room = budget.room_of_least if number <= workload.rounds else budget.room
            cases, left_out = schedule.cases_of_round(
                self.records, living, reference, workload, number, room, budget.spare
            )
            if left_out:
                names = ", ".join(case.name for case in left_out)
                self.say(f"the budget does not allow for {names} in round {number} (more: --budget)")
            if not cases:
                break
            self._wait_until_quiet(patience, budget.left - budget.pace * len(cases))
            began = time.monotonic()
            apart = self._round(number, cases, artifacts, budget)
            budget.took(len(cases), time.monotonic() - began - apart)
        if patience.waited_seconds:
            self.warn(f"Waited {duration(patience.waited_seconds)} in all for other work here to end (--wait-quiet).")

    def _wait_until_quiet(self, patience: quiet.Patience, most_seconds: float) -> None:
        if (share := patience.wait(most_seconds)) is not None:
            self.warn(
                f"Others still used {share:.0%} of the cores after {duration(patience.waited_seconds)} of waiting; "
                "it was measured all the same."
            )

    def _round(
        self, number: int, cases: Sequence[Case], artifacts: dict[Case, Artifact], budget: schedule.Budget
    ) -> float:
        """One round of these cases, twin and all; and seconds that went to the machine's limits, which no further round
        measures."""
        apart = 0.0
        reference, least = self.plan.reference, self.plan.workload.rounds
        found = {case: artifacts[samples.untwinned(case)] for case in cases}
        groups = schedule.groups_of(cases, reference, found, host.free_bytes())
        where, about = f"round {number} of {least}", "about"
        if number > least:
            where, about = f"round {number}, {len(cases)} processes", "at most"
        end = time.monotonic() + budget.to_come(number, len(cases))

        def say(text: str) -> None:
            left = end - time.monotonic()
            time_left = f"{about} {duration(left)} left" if left > 0 else f"{duration(-left)} more than estimated"
            self.say(f"{where}: {text}, {time_left}")

        with tempfile.TemporaryDirectory(prefix=".answers-", dir=self.run.path) as answers:
            for group, members in enumerate(groups):
                before, seen = doctor.counters(), self._look()
                jobs = self._with_device([self._job(case, number, found[case]) for case in members], seen)
                gaugings = self._gaugings(jobs)
                turners = run_round(
                    jobs,
                    self._launcher(),
                    self.plan.workload,
                    seed=self.plan.workload.seed * 10_007 + number * 101 + group,
                    judge_in=Path(answers) if self._wants_judging(members) else None,
                    together=1 if number == 1 else min(4, self.threads),
                    seconds=budget.share(least - number + 1) / len(groups),
                    gaugings=gaugings,
                    probe=lambda job, died: self._gone(job.device, gpus.look(), died) if job.device else None,
                    say=say,
                )
                self.suspect |= {turner.job.device for turner in turners if turner.died}
                # What disturbed these very turns; the workers have ended, so that their own load is known.
                then = self._look()
                self.findings = self._findings(before, seen, then)
                # Records are written once the group is through: a comparison needs both of its sides.
                for turner in sorted(turners, key=lambda t: t.job.case != reference):
                    around = gpus.around(turner.job.device, seen, then)
                    self._keep(self._record_of(turner, number, group, around))
                for gauging in gaugings:
                    self._keep_limits(gauging, number)
                    apart += gauging.seconds
        return apart

    def _look(self) -> Look | None:
        """The GPUs now, if this run uses any."""
        return gpus.look() if self.plan.devices else None

    def _findings(self, since: doctor.Counters | None, *seen: Look | None) -> tuple[Finding, ...]:
        """The doctor's, with what was not fine of the GPUs in any look at them, where this run uses some."""
        used = self.plan.devices.values()
        return doctor.findings(since, doctor.of_rounds(tuple(gpu.look(one, used)) for one in seen) if used else ())

    def _gone(self, device: str, seen: Look | None, ask_cuda: bool) -> str | None:
        """Why a GPU is of no use any more: by NVML, and where something died or hung on it by CUDA too."""
        return gpus.gone(device, seen) or (gpus.without_context(device) if ask_cuda else None)

    def _with_device(self, jobs: Sequence[Job], seen: Look | None) -> list[Job]:
        """The jobs whose device answers; of the others a record says why not."""
        of_device = {
            device: self._gone(device, seen, device in self.suspect) for device in {job.device for job in jobs} - {""}
        }
        lost = {job.case: of_device.get(job.device) for job in jobs}
        for job in jobs:
            if reason := lost.get(job.case):
                self._keep(self._record(job.case, job.round, "failed", reason))
        return [job for job in jobs if not lost.get(job.case)]

    def _gaugings(self, jobs: Sequence[Job]) -> list[limits.Gauging]:
        """What measures the limits that no record tells yet: in a run's first round, as a rule. One that was stopped
        amid their records lacks some."""
        told = {record.case for record in self.records if record.case.is_limit}
        mine = [job for job in jobs if not job.case.variant]
        return limits.gaugings(mine, self._launcher(), self.plan.workload, told) if self.arithmetic else []

    def _keep_limits(self, gauging: limits.Gauging, number: int) -> None:
        for name, gauged in gauging.gauged.items():
            record = self._record(limits.case_of(gauging.target, name), number, "ok", None)
            self._keep(msgspec.structs.replace(record, gauged=tuple(gauged)))
        known = targets.load(Path(self.plan.request.targets_dir) if self.plan.request.targets_dir else None)
        cards = self.host.nvidia.gpus if self.host.nvidia else ()
        card = next((one for one in cards if one.uuid == gauging.job.device), None)
        for name, reason in gauging.failed.items():
            record = self._record(limits.case_of(gauging.target, name), number, "failed", reason)
            published = targets.published(card, name, (gauging.job.target, *known.values())) if card else None
            self._keep(msgspec.structs.replace(record, published=published))

    def _wants_judging(self, members: Sequence[Case]) -> bool:
        judged = {record.case for record in self.records if record.answers_sha256}
        return any(case not in judged and not case.copy for case in members)

    def _job(self, case: Case, number: int, artifact: Artifact) -> Job:
        return Job(
            case=case,
            model=self.plan.side(case).model,
            target=self.plan.target(case.target),
            round=number,
            artifact=artifact,
            inputs=str(self.cache.path(self.inputs[case.variant].key)),
            shapes=self.plan.workload.shapes,
            threads=self.threads,
            seed=self.plan.workload.seed,
            trust_remote_code=self.plan.request.trust_remote_code,
            device=self.plan.devices.get(case.target, ""),
        )

    def _launcher(self) -> Launch:
        assert self.launch is not None
        return self.launch

    def _launch_process(self, job: Job) -> Lane:
        name = job.case.name.replace("/", "-").replace(":", "-").replace("#", "-twin")
        env, log = targets.environment(job.target, job.threads, job.device), self.run.logs / f"{name}.log"
        if python := self.plan.side(job.case).python:
            return ProcessLane("optibench.worker", {**env, **environment.variables(self.cache)}, log, python)
        return ProcessLane("optibench.worker", env, log)

    # Records

    def _record_of(self, turner: Turner, number: int, group: int, around: GpuRound | None) -> Record:
        case, measurement = turner.job.case, turner.measurement()
        status, reason = turner.status, turner.reason
        scores: tuple[Score, ...] = ()
        parity = None
        executed = measurement.executed if measurement else None
        if executed and (other := mislabelled(case.precision, executed.precision)):
            status, reason, measurement = "failed", other, None
        elif turner.judged:
            facts, at = self.inputs[case.variant].facts, self.cache.path(self.inputs[case.variant].key)
            answers = Answers.of_file(turner.judged, facts["order"])
            task = self.plan.model.ref.task
            alike = score.compared(task, answers)
            if case == self.plan.reference and self._reference_answers is None:
                self._reference_answers = alike.kept()
            asked = (self.plan.side(case).model, self.plan.workload)
            scores = score.scores_of(task, answers, facts["labels"], truths_of(facts, at), asked)
            if self._reference_answers is not None:
                same = self._reference_answers
                parity = None if turner.job.generates else score.parity_of(task, alike, same)
        record = self._record(case, number, status, reason)
        return msgspec.structs.replace(
            record,
            group=group,
            artifact=turner.job.artifact,
            measurement=measurement,
            gpu=around,
            scores=scores,
            parity=parity,
            answers_sha256=turner.judged["answers_sha256"] if turner.judged else None,
            generated=tuple(map(tuple, turner.judged["generated"])) if turner.judged else (),
        )

    def _record(self, case: Case, number: int, status: Status, reason: str | None) -> Record:
        sources = getattr(self, "sources", None)
        side = self.plan.side(case)
        return Record(
            case=case,
            model=side.model.ref,
            workload=self.plan.workload,
            round=number,
            threads=self.threads,
            status=status,
            reason=reason,
            host=msgspec.structs.replace(self.host, packages=side.packages) if side.python else self.host,
            dataset=sources.evaluation if sources else None,
            calibration=sources.calibration if sources else None,
            findings=self.findings,
            # Counted on what the run is about: the other side may be another model.
            multiply_adds={} if case.variant else self.arithmetic.get("multiply_adds", {}),
            multiplied_weights=None if case.variant else self.arithmetic.get("weights"),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _keep(self, record: Record) -> None:
        self.run.append(record)
        self.records.append(record)
