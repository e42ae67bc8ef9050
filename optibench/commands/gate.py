"""`optibench gate` and `optibench baseline`: has it become worse than it was?"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from optibench.commands.shared import command_line, print_verdict, request_from_options
from optibench.options import Commands, Duration, Percent, data_options, device_option, model_options, workload_options
from optibench.progress import Progress

if TYPE_CHECKING:
    from optibench.baseline import Baseline
    from optibench.verdicts import GateResult

FORMATS = ("text", "markdown", "junit", "json", "github")


@click.command()
@click.argument("run", metavar="RUN|MODEL")
@click.option("--baseline", type=click.Path(path_type=Path), help="A baseline's file, or a run's folder.")
@click.option(
    "--against",
    metavar="REVISION|MODEL|DIR|PIN",
    help="Measure MODEL beside this in one run: another revision, a model, an exported folder, or onnxruntime==1.30.0.",
)
@click.option(
    "--against-env",
    metavar="FILE|DIR|PIN",
    help="Measure MODEL beside itself with other package versions: a constraints file, a virtual environment, a pin.",
)
@click.option("--max-slowdown", type=Percent(), default="5%", show_default=True, help="How much slower it may be.")
@click.option(
    "--max-accuracy-drop",
    type=Percent(),
    default="1%",
    show_default=True,
    help="Points of the score that it may lose: by 1%, 0.90 may become 0.89.",
)
@click.option("--max-memory-growth", type=Percent(), default="10%", show_default=True, help="Peak memory it may add.")
@click.option("--max-size-growth", type=Percent(), default="5%", show_default=True, help="Artifact size it may add.")
@click.option("--cases", default="*", metavar="PATTERN", help="Only cases named like this, e.g. 'cpu/openvino/*'.")
@click.option(
    "--on-unknown",
    type=click.Choice(["rerun", "fail", "pass"]),
    default="rerun",
    show_default=True,
    help="What to do about undecided cases: measure more rounds of them, exit 2, or let them pass.",
)
@click.option(
    "--budget",
    "budget_seconds",
    type=Duration(),
    default="10m",
    show_default=True,
    help="Time for those further rounds, once more for the confirmation, and for measuring MODEL.",
)
@click.option("--no-confirm", is_flag=True, help="Report a regression without a second, fresh measurement.")
@click.option(
    "--allow-different-hardware", is_flag=True, help="Judge though the machine or the reference's runtime differ."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Of the output.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write that format to a file, and text to standard output."
)
@click.option("--run-dir", type=click.Path(path_type=Path), help="With --against: the new run's folder.")
@workload_options
@device_option
@data_options
@model_options
def gate(
    run: str,
    baseline: Path | None,
    against: str | None,
    against_env: str | None,
    form: str,
    as_json: bool,
    out: Path | None,
    run_dir: Path | None,
    **asked: Any,
) -> None:
    """Has it become slower, larger or less accurate? Hold a run against a baseline, or a model against another state.

    \b
    optibench baseline save RUN                       once: makes reports/baselines/MODEL.json, to be committed
    optibench gate RUN --baseline reports/baselines/minilm.json
    optibench gate RUN --baseline OLD_RUN --max-slowdown 10% --format junit --out gate.xml
    optibench gate user/model --against v1.0          both revisions in one run, taking turns: the strongest form
    optibench gate minilm --against exported-folder
    optibench gate minilm --against-env constraints-old.txt --backends onnxruntime

    With --baseline speeds are compared as ratios to the reference of the same run, so a slower machine alone is no
    regression. Each case passes, is improved, regressed, unknown or not measured; docs/gate.md says what each means.
    Under GitHub Actions annotations go to standard error and a table to the job's summary by themselves.

    Exit codes: 0 passed, 1 a regression (confirmed, unless --no-confirm), 2 no telling, nothing measured, a case of
    the baseline was not measured, or wrong use.
    """
    from optibench import gating
    from optibench.verdicts import Limits

    if sum(given is not None for given in (baseline, against, against_env)) != 1:
        raise click.UsageError("Against what? Give one of --baseline, --against and --against-env.")
    limits = {name: asked.pop(name) for name in Limits.__struct_fields__}
    judging = {name: asked.pop(name) for name in ("cases", "on_unknown", "budget_seconds")}
    judging["confirm"] = not asked.pop("no_confirm")
    allowed = asked.pop("allow_different_hardware")
    progress = Progress()
    try:
        if baseline is not None:
            _refuse_measuring_options()
            result = gating.gate(run, baseline, **limits, **judging, allow_different_hardware=allowed, say=progress.say)
        else:
            if allowed:
                raise click.UsageError("--allow-different-hardware goes with --baseline: else both sides run here.")
            own_budget = asked["quick"] and not _on_command_line("budget_seconds")  # a first look takes quick's time
            budget = None if own_budget else judging["budget_seconds"]
            request = request_from_options(run, {**asked, "budget": budget})
            result = gating.gate_sides(
                request,
                against=against,
                against_env=against_env,
                limits=Limits(**limits),
                **judging,
                run_dir=run_dir,
                command=command_line(),
                say=progress.say,
            )
    finally:
        progress.done()
    show_gate(result, "json" if as_json else form, out)
    raise click.exceptions.Exit(result.exit_code)


def _refuse_measuring_options() -> None:
    """Error: options that say how a model is measured, where a run that was measured is judged."""
    context = click.get_current_context()
    mine = {"run", "baseline", "form", "as_json", "out", "budget_seconds", "cases", "on_unknown", "no_confirm"}
    mine |= {name for name in context.params if name.startswith(("max_", "allow_different"))}
    for option in context.command.params:
        if option.name not in mine and _on_command_line(option.name or ""):
            raise click.UsageError(
                f"{option.opts[0]} says how a MODEL is measured with --against; the run for --baseline is measured "
                "already: give it to optibench compare."
            )


def _on_command_line(name: str) -> bool:
    """Whether the option was given, rather than left at its default."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def show_gate(result: GateResult, form: str, out: Path | None) -> None:
    """The gate in the format that was asked for, and what GitHub Actions reads where that runs us."""
    from optibench import store
    from optibench.errors import OptibenchError
    from optibench.render import gate_github, gate_markdown, gate_text

    if out is not None or form == "text":
        tty = sys.stdout is not None and sys.stdout.isatty()
        print_verdict(gate_text.render(result, color=tty and "NO_COLOR" not in os.environ))
    else:
        print_verdict(rendered(result, form))
    if os.environ.get("GITHUB_ACTIONS") == "true" and form != "github":
        click.echo(gate_github.render(result), nl=False, err=True)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(gate_markdown.render(result))
        except OSError as error:
            click.echo(f"The summary {summary} could not be written: {error.strerror or error}.", err=True)
    if out is not None:  # last: minutes of measuring are told even where the file cannot be had
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            store.write_whole(out, rendered(result, form).encode())
        except OSError as error:
            raise OptibenchError(f"{out} cannot be written: {error.strerror or error}.") from error


def rendered(result: GateResult, form: str) -> str:
    """The gate in one of FORMATS."""
    from optibench.render import gate_github, gate_junit, gate_markdown, gate_text
    from optibench.render import json as render_json

    renders = {
        "text": gate_text.render,
        "markdown": gate_markdown.render,
        "junit": gate_junit.render,
        "json": render_json.render,
        "github": gate_github.render,
    }
    return renders[form](result)


@click.group("baseline", cls=Commands)
def baseline_group() -> None:
    """Save, show and update what a gate holds runs against: small files that are fit for committing."""


@baseline_group.command("save")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="[default: reports/baselines/MODEL.json]")
def baseline_save(run: Path, out: Path | None) -> None:
    """Save the run in folder RUN as a new baseline. More rounds (compare --rounds 20) make a sharper one."""
    from optibench import baseline
    from optibench.errors import OptibenchError
    from optibench.render.units import counted

    made = baseline.of_run(run)
    path = out or baseline.default_path(made.model.id)
    if path.exists():
        raise OptibenchError(f"{path} exists. To replace it, and see what changes: optibench baseline update {run}")
    baseline.write(made, path)
    click.echo(f"{counted(len(made.cases), 'case')} of {made.model.id} saved in {path}")


@baseline_group.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def baseline_show(file: Path, as_json: bool) -> None:
    """Show a baseline, a run's folder as one, or what is wrong with the file."""
    from optibench import baseline
    from optibench.render import baseline_text
    from optibench.render import json as render_json

    found = baseline.of_path(file)
    click.echo(render_json.render(found) if as_json else baseline_text.render(found), nl=False)


@baseline_group.command("update")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The baseline. [default: reports/baselines/MODEL.json]")
def baseline_update(run: Path, out: Path | None) -> None:
    """Replace a baseline by the run in folder RUN, and say what changes. Mends a damaged or edited one."""
    from optibench import baseline
    from optibench.errors import OptibenchError
    from optibench.render import baseline_text

    new = baseline.of_run(run)
    path = out or baseline.default_path(new.model.id)
    if not path.exists():
        raise OptibenchError(f"There is no baseline {path} to update. Make one: optibench baseline save {run}")
    old: Baseline | None = None
    try:
        old = baseline.read(path)
    except OptibenchError as error:
        click.echo(f"The old one could not be read. {error}", err=True)
    baseline.write(new, path)
    click.echo(baseline_text.render(new, old), nl=False)
    click.echo(f"Updated: {path}")
