"""A kept run made into a plan again: the same model by its digest, the same data by theirs, the same cases.

A run's plan may come from a stranger's bundle. So nothing in it is trusted to run code: what its user allowed then
must be allowed anew, and targets (which set a process's environment) are read from this machine's own files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from optibench import gpus, inputs, models, samples, targets
from optibench.errors import OptibenchError
from optibench.plan import Plan, PlannedCase, Request, devices_of, why_not
from optibench.runs import KeptRun
from optibench.side_by_side import Check
from optibench.values import Case, Host, Model, Record, Target, Workload

REPLAY = "replay.json"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Where things lie now, and what is allowed now; None: as the run says it."""

    model: str | None = None
    dataset: str | None = None
    calibration: str | None = None
    targets_dir: Path | None = None
    device: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False


@dataclass(frozen=True, kw_only=True)
class Again:
    """What is to be measured again: the plan, why other cases are not, and what was checked."""

    plan: Plan
    not_again: dict[str, str]
    checks: tuple[Check, ...]


def plan_again(kept: KeptRun, records: Sequence[Record], moved: Moved, here: Host, say: Say) -> Again:
    """The run's plan for this machine. Errors: another model than was measured, or what it needs is not there."""
    try:
        old = msgspec.convert(kept.start().get("plan"), Plan)
    except msgspec.ValidationError as error:
        raise OptibenchError(
            f"The plan in {kept.path} was made by another version ({error}): replay it there."
        ) from error
    measured = [record for record in records if record.measurement]
    reference = samples.reference_of(measured)
    if reference is None:
        raise OptibenchError(f"Nothing was measured in {kept.path}, so there is nothing to measure again.")
    if old.model.ref != measured[-1].model or old.workload != measured[-1].workload:
        raise OptibenchError(
            f"The plan and the records in {kept.path} are of different runs: one was edited or replaced."
        )
    _check_allowed(old.request, moved)
    model, checks = _same_model(old, moved, say)
    request = _request(old.request, moved)
    known = targets.load(Path(request.targets_dir) if request.targets_dir else None)
    chosen = targets.find(list(dict.fromkeys(record.case.target for record in measured)), known)
    workload = msgspec.structs.replace(
        old.workload,
        dataset=moved.dataset or old.workload.dataset,
        calibration=moved.calibration or old.workload.calibration,
    )
    here = gpus.only(here, moved.device)
    checks += [*_data_checks(model, workload, measured), *_target_checks(old.targets, chosen)]
    planned, not_again = _cases(records, {target.name: target for target in chosen}, reference, here)
    return Again(
        plan=Plan(
            request=request,
            model=model,
            workload=workload,
            targets=tuple(chosen),
            cases=tuple(planned),
            reference=reference,
            devices=devices_of(chosen, here),
        ),
        not_again=not_again,
        checks=tuple(checks),
    )


def _check_allowed(request: Request, moved: Moved) -> None:
    for flag, then, now in (
        ("--trust-remote-code", request.trust_remote_code, moved.trust_remote_code),
        ("--allow-pickle", request.allow_pickle, moved.allow_pickle),
    ):
        if then and not now:
            raise OptibenchError(f"This run was made with {flag}. Give {flag} again if you trust the model's author.")


def _request(request: Request, moved: Moved) -> Request:
    given = {
        "model": moved.model,
        "dataset": moved.dataset,
        "calibration": moved.calibration,
        "targets_dir": str(moved.targets_dir) if moved.targets_dir else None,
    }
    kept = {name: value for name, value in given.items() if value is not None}
    return msgspec.structs.replace(request, device=moved.device, **kept)


def _same_model(old: Plan, moved: Moved, say: Say) -> tuple[Model, list[Check]]:
    """The model that was measured, found again. Errors: it is gone, or its digest is another."""
    ref = old.model.ref
    place = moved.model or _place(old)
    found = models.resolve(
        place, task=ref.task, trust_remote_code=moved.trust_remote_code, allow_pickle=moved.allow_pickle, say=say
    )
    for what, then, now in (
        ("weights", ref.weights_sha256, found.ref.weights_sha256),
        # A Hub commit and the digest of a folder's files do not compare; the weights do.
        *([("revision", ref.revision, found.ref.revision)] if ref.source == found.ref.source else []),
    ):
        if then != now:
            raise OptibenchError(
                f"The model at {place} is not the one that was measured: its {what} was {then} then and is {now} now. "
                "Put the old files back, or say with --model where they lie."
            )
    said = f"the model's digest is that of then ({ref.weights_sha256[:12]})"
    return msgspec.structs.replace(found, ref=ref), [Check(what="model", fine=True, said=said)]


def _place(old: Plan) -> str:
    """What to call the model: as its user did, a Hub model at the commit that was measured."""
    ref = old.model.ref
    if ref.source == "hub":
        return f"{ref.id}@{ref.revision}"
    if ref.source == "package":
        return old.request.model
    if not Path(old.model.path).exists():
        raise OptibenchError(f"The model is no longer at {old.model.path}. Say with --model where it lies now.")
    return old.model.path


def _data_checks(model: Model, workload: Workload, measured: Sequence[Record]) -> Iterator[Check]:
    sources = inputs.rows_of(model, workload).sources
    for what, then, now in (
        ("data set", next((record.dataset for record in measured if record.dataset), None), sources.evaluation),
        ("calibration data", next((r.calibration for r in measured if r.calibration), None), sources.calibration),
    ):
        if then is not None:
            fine = now is not None and then.sha256 == now.sha256
            said = "the rows are those of then" if fine else "the rows are others than then: scores cannot be compared"
            yield Check(what=what, fine=fine, said=f"{said} ({then.id}, {then.count} rows then)")


def _target_checks(then: Sequence[Target], now: Sequence[Target]) -> Iterator[Check]:
    old = {target.name: target for target in then}
    for target in now:
        if target.name in old and old[target.name] != target:
            names = [f for f in target.__struct_fields__ if getattr(target, f) != getattr(old[target.name], f)]
            said = f"its file says otherwise than then about {', '.join(names)}; today's is used"
            yield Check(what=f"target {target.name}", fine=False, said=said)


def _cases(
    records: Sequence[Record], known: dict[str, Target], reference: Case, here: Host
) -> tuple[list[PlannedCase], dict[str, str]]:
    """The cases that were measured, the reference first; and those that are not measured again, with why."""
    broken = {record.case: record.reason or record.status for record in records if record.status != "ok"}
    generative = any(shape.phase for shape in records[-1].workload.shapes)
    planned, not_again = [], {}
    for case in dict.fromkeys([reference, *(samples.untwinned(record.case) for record in records)]):
        if case in broken:
            not_again[case.name] = f"not measured then: {broken[case]}"
        elif case.variant:
            not_again[case.name] = "it was what the run was held against"
        else:
            target = known[case.target]
            skip = targets.mismatch(target, here) or why_not(case, target, generative)
            if skip and case == reference:
                raise OptibenchError(f"The reference {case.name} cannot run here: {skip}.")
            planned.append(PlannedCase(case=case, skip=skip))
    return planned, not_again


def constraints_from_host(host: Host) -> str:
    """The packages' versions as a pip constraints file. A build's mark (torch 2.13.0+cpu) stands in a comment: it is
    no part of what an index offers. Error: a name or version that pip would read as something else."""
    lines = [f"# The packages of a run of optibench {host.packages.get('optibench', '')} on Python {host.python}."]
    for name, version in sorted(host.packages.items()):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not re.fullmatch(r"[A-Za-z0-9.!+_-]+", version):
            raise OptibenchError(
                f"The run names a package {name!r} of version {version!r}, which cannot be: it was edited."
            )
        if name != "optibench":
            public, _, mark = version.partition("+")
            lines.append(f"{name}=={public}" + (f"  # {version}" if mark else ""))
    return "\n".join(re.sub(r"[^\x20-\x7e]", "?", line) for line in lines) + "\n"


def start_of(kept: KeptRun, command: str, plan: Plan) -> dict[str, Any]:
    """plan.json of the new run, so that it can be resumed."""
    return {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "replay_of": str(kept.path),
        "plan": msgspec.to_builtins(plan),
    }
