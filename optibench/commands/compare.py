"""`optibench compare`: the main job."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from optibench.commands.shared import command_line, request_from_options
from optibench.errors import OptibenchError
from optibench.options import Duration, data_options, device_option, model_options, workload_options
from optibench.progress import Progress


@click.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@workload_options
@device_option
@data_options
@click.option(
    "--budget", type=Duration(), help="Time for measuring, such as 90s or 10m. [default: 5m; 6m30s at several sizes]"
)
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder. [default: ./optibench-runs/TIME-MODEL]")
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json on standard output, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of its time; run nothing.")
@click.option(
    "--execute", metavar="WHERE", default="here", show_default=True, help="here, or ray[:ADDRESS]: a whole node of it."
)
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with an interrupted run, from its folder alone.")
@model_options
def compare(
    models: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    resume: Path | None,
    out: Path | None,
    execute: str,
    **asked: Any,
) -> None:
    """Measure every build of MODEL and say which to ship; of several MODELs one after the other, in one table.

    MODEL is an alias (minilm, bert-base, ...), a Hub id (user/name, user/name@revision), a local folder in Hugging
    Face format, package:module/folder, or an .onnx or OpenVINO .xml file.

    Exit codes: 0 done (cases may be skipped or failed: the summary says so), 2 wrong use or bad input, 3 nothing
    could be measured, 130 interrupted.
    """
    from optibench import api

    progress = Progress(quiet=False)
    try:
        if resume is not None:
            if models or execute != "here":
                raise click.UsageError(
                    "--resume goes on here with the run as it was begun: leave MODEL and --execute out."
                )
            result = api.resume(resume, progress.say, wait_quiet_seconds=asked["wait_quiet"])
        elif not models:
            raise click.UsageError(
                "Which MODEL? An alias, a Hub id, a folder or a file; optibench compare -h tells more."
            )
        elif len(models) > 1:
            if execute != "here" or dry_run:
                raise click.UsageError("--execute and --dry-run take one MODEL at a time.")
            requests = [request_from_options(model, asked) for model in dict.fromkeys(models)]
            found, failed = measure_each(requests, out, progress)
            if found:
                show_several(found, as_json)
            if failed:
                raise click.exceptions.Exit(failed[0].exit_code)
            return
        else:
            request = request_from_options(models[0], asked)
            if dry_run:
                planned, estimated = api.dry_run(request, progress.say)
                progress.done()
                show_plan(planned, estimated, as_json)
                return
            if execute == "here":
                result = api.run(request, out=out, command=command_line(), say=progress.say)
            else:
                result = run_elsewhere(execute, models[0], out, progress.say)
    finally:
        progress.done()
    show_result(result, as_json)


def measure_each(requests: list[Any], out: Path | None, progress: Progress) -> tuple[list[Any], list[OptibenchError]]:
    """A run of each request, one after the other, each in a folder of its own; and the errors of those that have none.
    One model that is wrong does not stop the others."""
    from optibench import api
    from optibench.render.plain import plain

    found, failed = [], []
    for number, request in enumerate(requests, 1):
        folder = out / f"{number}-{Path(request.model).name}" if out else None
        try:
            found.append(api.run(request, out=folder, command=command_line(), say=progress.say))
        except OptibenchError as error:
            failed.append(error)
            progress.done()
            click.echo(plain(f"Error: {request.model}: {error}"), err=True)
    progress.done()
    return found, failed


def show_several(results: list[Any], as_json: bool) -> None:
    """Several models' results as one table, or as a list of comparisons."""
    from optibench.render import json as render_json
    from optibench.render import several
    from optibench.results import Comparisons

    shown = [result.comparison for result in results]
    if as_json:
        click.echo(render_json.render(Comparisons(comparisons=tuple(shown))), nl=False)
        return
    tty = sys.stdout is not None and sys.stdout.isatty()
    width = None if tty else shutil.get_terminal_size((160, 50)).columns
    click.echo(several.render(shown, width=width, color=tty and "NO_COLOR" not in os.environ))
    for result in results:
        click.echo(f"Records and report of {result.comparison.model.id}: {result.path}", err=True)


def run_elsewhere(where: str, model: str, out: Path | None, say: Any) -> Any:
    """The same command on another machine; its run's folder comes here."""
    from optibench import api, store
    from optibench.execute import ray

    kind, _, address = where.partition(":")
    if kind != "ray":
        raise click.UsageError(f"--execute takes here or ray[:ADDRESS], not {where!r}.")
    folder = store.create(out, model)
    try:
        ray.run_there(ray.arguments_there(sys.argv[1:]), address or None, folder.path, say)
    except OptibenchError:
        folder.discard_if_empty()
        raise
    return api.load(folder.path)


def show_result(result: Any, as_json: bool) -> None:
    """The result on standard output; where it lies on standard error."""
    from optibench.render import json as render_json
    from optibench.render import text

    if as_json:
        click.echo(render_json.render(result.comparison), nl=False)
        return
    tty = sys.stdout is not None and sys.stdout.isatty()
    width = None if tty else shutil.get_terminal_size((160, 50)).columns  # COLUMNS, if it is a number
    click.echo(text.render(result.comparison, width=width, color=tty and "NO_COLOR" not in os.environ))
    click.echo(f"\nRecords and report: {result.path}", err=True)


def show_plan(planned: Any, estimated: Any, as_json: bool) -> None:
    """The plan of a dry run."""
    import msgspec

    from optibench import static_shapes

    def fixed(case: Any) -> bool:
        return static_shapes.asked_for(planned.target(case.target), case.backend, planned.side(case).model)

    if as_json:
        plan = {
            "model": planned.model.ref,
            "workload": planned.workload,
            "reference": planned.reference.name if planned.reference else None,
            "cases": [
                {
                    "case": p.case.name,
                    "runs": p.skip is None,
                    "reason": p.skip,
                    "static_shapes": fixed(p.case),
                }
                for p in planned.cases
            ],
            "estimate": {
                "build_seconds": estimated.build_seconds,
                "measure_seconds": estimated.seconds - estimated.build_seconds,
            },
        }
        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
        return
    ref, workload = planned.model.ref, planned.workload
    click.echo(f"{ref.id} ({ref.task}, {ref.source}) at {ref.revision}")
    click.echo(
        f"shapes {', '.join(s.name for s in workload.shapes)} (batch x length), data: {workload.dataset or 'none'}"
    )
    width = max((len(p.case.name) for p in planned.cases), default=0)
    for p in planned.cases:
        notes = ["reference, twice for the A/A check"] if p.case == planned.reference else []
        notes += ["shapes are fixed: each is compiled on its own"] if fixed(p.case) else []
        notes += [f"skipped: {p.skip}"] if p.skip else []
        click.echo(f"  {p.case.name:{width}}  {'; '.join(notes)}".rstrip())
    click.echo(estimated.sentence)
