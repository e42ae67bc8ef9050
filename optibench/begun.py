"""A run that was begun: measured to its end, gone on with after an interruption, measured further, or afresh."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import changes, comparable, host, store
from optibench.baseline import hardware_of
from optibench.cache import Cache, default_root
from optibench.comparison import comparison_from_records
from optibench.errors import NothingMeasured, NotInstalled, OptibenchError, first_line
from optibench.pipeline import Enough, Pipeline
from optibench.plan import Plan, counterpart_of
from optibench.render import csv, html, markdown
from optibench.render.units import counted
from optibench.reported import Reported, request_of
from optibench.result import Result
from optibench.samples import builds
from optibench.values import Case, Record

if TYPE_CHECKING:
    from optibench.execute.base import Launch

Say = Callable[[str], None]


def resume(
    directory: Path,
    say: Say = lambda text: None,
    launch: Launch | None = None,
    wait_quiet_seconds: float | None = None,
) -> Result:
    """Goes on with a run that was interrupted, from its folder alone; nothing is measured twice.
    ``wait_quiet_seconds``: as in ``compare``; None leaves it as the run was begun."""
    folder = store.open_run(directory)
    planned, start = _begun(folder)
    if wait_quiet_seconds is not None:
        request = msgspec.structs.replace(planned.request, wait_quiet_seconds=wait_quiet_seconds)
        planned = msgspec.structs.replace(planned, request=request)
    with folder.alone():
        return go_on(folder, planned, start, say, launch)


def more_rounds(
    directory: Path,
    cases: Collection[str],
    *,
    seconds: float,
    enough: Enough,
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Result:
    """Adds rounds of just these cases, and the reference, to a run: until ``enough`` says so of its records, or the
    time is used up. Errors: this is not the machine of the run, or its model or builds are no longer what they were.
    """
    folder = store.open_run(directory)
    planned, start = _begun(folder)
    _check_same_ground(folder)
    with folder.alone():
        return go_on(
            folder, planned, start, say, launch, more=lambda p: p.more(_named(planned, cases), seconds, enough)
        )


def measure_again(
    directory: Path,
    cases: Collection[str],
    *,
    seconds: float,
    enough: Enough,
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Result:
    """Measures these cases of a run, and the reference, afresh: the run's own plan without the others, in a new
    folder beside it (RUN-again). Goes on and fails as ``more_rounds`` does."""
    old = store.open_run(directory)
    planned, start = _begun(old)
    _check_same_ground(old)
    wanted = (*_named(planned, cases), planned.reference)
    planned = msgspec.structs.replace(planned, cases=tuple(one for one in planned.cases if one.case in wanted))
    folder = store.create_beside(old.path, "again")
    start = {**start, "created": datetime.now(UTC).isoformat(timespec="seconds"), "plan": msgspec.to_builtins(planned)}
    folder.write_plan(start)

    def rounds(pipeline: Pipeline) -> None:
        def all_done(records: Sequence[Record]) -> bool:
            return records[-1].round >= planned.workload.rounds and enough(records)

        pipeline.more([one.case for one in planned.cases], seconds, all_done)

    try:
        return go_on(folder, planned, start, say, launch, more=rounds)
    except OptibenchError:
        folder.discard_if_empty()
        raise


def _named(planned: Plan, names: Collection[str]) -> list[Case]:
    """The cases of these names, on both sides in a run of two."""
    return [one.case for one in planned.cases if {one.case.name, counterpart_of(one.case).name} & set(names)]


def _begun(folder: store.Run) -> tuple[Plan, dict[str, Any]]:
    """The plan of a run that was begun, and what else was kept of its start."""
    start = folder.plan()
    try:
        planned = msgspec.convert(start["plan"], Plan)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise OptibenchError(
            f"{folder.path}/{store.PLAN} was made by another version ({error}); start the run anew."
        ) from error
    other = planned.against
    for path in (planned.model.path, *((other.model.path, other.python or "") if other else ())):
        if not Path(path).exists():
            raise OptibenchError(f"What the run is made from is no longer at {path}; start the run anew.")
    return planned, start


def _check_same_ground(folder: store.Run) -> None:
    """Error: rounds that were measured now would not be of the same machine and packages as those of the run."""
    records, _ = folder.records()
    last = next(record for record in reversed(records) if not record.case.variant)
    here, then = host.describe(), last.host
    found = comparable.hardware_differences(hardware_of(here, host.usable_cores()), hardware_of(then, last.threads))
    found += changes.package_changes(then.packages, here.packages)
    if found:
        raise OptibenchError(f"The run {folder.path} was not made here as things are now: {'; '.join(found)}.")


def go_on(
    folder: store.Run,
    planned: Plan,
    start: dict[str, Any],
    say: Say,
    launch: Launch | None,
    more: Callable[[Pipeline], None] = Pipeline.measure,
) -> Result:
    """Measures what ``more`` says, then writes the comparison of all records anew."""
    records, warnings = folder.records()
    for text in warnings:
        say(text)

    def warn(text: str) -> None:
        """Says it now and on the report, also if the run is interrupted in between."""
        say(text)
        start.setdefault("warnings", []).append(text)
        folder.write_plan(start)

    pipeline = Pipeline(
        plan=planned,
        run=folder,
        cache=Cache(default_root(), say),
        host=host.describe(),
        say=say,
        warn=warn,
        launch=launch,
        records=list(records),
    )
    try:
        more(pipeline)
    except KeyboardInterrupt:
        rounds = len({r.round for r in pipeline.records if r.measurement})
        say(
            f"Interrupted. Kept in {folder.path}: {counted(rounds, 'whole round')}. "
            f"Go on with: optibench compare --resume {shlex.quote(str(folder.path))}"
        )
        raise
    comparison = comparison_from_records(
        pipeline.records,
        command=start["command"],
        created=start["created"],
        warnings=start.get("warnings", ()),
    )
    folder.write_comparison(comparison, {"table.csv": csv.render(comparison), "report.md": markdown.render(comparison)})
    write_page(folder, Reported(comparison=comparison, records=pipeline.records, request=request_of(start)), say)
    if not any(record.measurement and not record.case.copy for record in pipeline.records):  # a twin is no result
        raise NothingMeasured("Nothing could be measured. " + " ".join(_reasons(pipeline.records)))
    return Result(comparison, folder.path)


def write_page(folder: store.Run, run: Reported, say: Say) -> None:
    """Writes report.html. It is made of what is kept already, so whatever hinders it is said, and costs nothing else;
    OPTIBENCH_PAGE=0 leaves it out (it takes some seconds)."""
    if os.environ.get("OPTIBENCH_PAGE") == "0":
        return
    try:
        say("drawing report.html")
        folder.write(store.PAGE, html.render_run(run).encode())
    except NotInstalled as error:
        say(f"No {store.PAGE} is written. {error}")
    except Exception as error:  # of whatever draws; a full disk too
        say(f"{store.PAGE} could not be written ({first_line(error)}). Later: optibench report {folder.path}")


def _reasons(records: Sequence[Record]) -> list[str]:
    """Why nothing ran: a sentence a reason, with the cases that share it."""
    by_reason: dict[str, list[str]] = {}
    for record in builds(records):
        by_reason.setdefault(record.reason or "no reason is known", []).append(record.case.name)
    return [f"{', '.join(dict.fromkeys(names))}: {reason}." for reason, names in by_reason.items()]
