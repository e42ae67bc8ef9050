"""`optibench history`, `optibench bundle-run` and `optibench replay`: what is done with runs that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from optibench.commands.shared import write_new
from optibench.options import device_option
from optibench.progress import Progress


@click.command()
@click.argument("places", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--cases", default="*", metavar="PATTERN", help="Only these cases, e.g. 'cpu/openvino/*'.")
@click.option("--model", help="Of which model, where there are several. [default: the one with most runs]")
@click.option("--format", "form", type=click.Choice(["text", "csv", "json"]), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also draw a picture: a file that ends in .svg or .png.")
def history(places: tuple[Path, ...], cases: str, model: str | None, form: str, out: Path | None) -> None:
    """Show how each case's speed-up went over many runs of one model, and where its level changed.

    DIR is a run's folder, a bundle, or a folder that holds some, such as ./optibench-runs. A change is reported from
    six runs on, with its size, its interval and what else was new there (docs/history.md says by which rule).
    """
    from optibench import api
    from optibench.render import chart, chart_history
    from optibench.render import history as render
    from optibench.render import json as as_json

    suffix = chart.check_suffix(out) if out else None
    progress = Progress()
    try:
        found = api.history(*places, cases=cases, model=model, say=progress.say)
        if out and suffix:
            progress.say("drawing")
            write_new(out, chart_history.draw(found, suffix))
    finally:
        progress.done()
    forms = {"text": render.text, "csv": render.table, "json": as_json.render}
    click.echo(forms[form](found), nl=False)
    if out:
        click.echo(f"Picture: {out}", err=True)


@click.command("bundle-run")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The bundle. [default: ./NAME.optibench.zip]")
def bundle_run(run: Path, out: Path | None) -> None:
    """Pack a run's folder into one file to send or keep; history and replay read it as it is."""
    from optibench import bundle
    from optibench.render.units import counted

    written, manifest = bundle.write(run, out)
    size = written.stat().st_size
    click.echo(f"{written}: {counted(len(manifest.files), 'file')}, {size / 1e6:.2f} MB")
    if manifest.left_out:
        click.echo(f"Logs left out for their size: {', '.join(manifest.left_out)}", err=True)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The new run's folder. [default: under ./optibench-runs]")
@click.option(
    "--model", metavar="PLACE", help="Where the model lies now, if it was moved: its digest must be the same."
)
@click.option("--dataset", metavar="FILE_OR_HUB_ID", help="Where the data set lies now, if it was moved.")
@click.option("--calibration", metavar="FILE_OR_HUB_ID", help="Where the calibration data lie now, if moved.")
@click.option("--targets-dir", type=click.Path(path_type=Path), help="A folder with target files of your own.")
@device_option
@click.option("--trust-remote-code", is_flag=True, help="RISK: runs Python code that comes with the model.")
@click.option("--allow-pickle", is_flag=True, help="RISK: loads pickled weights, which can run any code.")
@click.option("--json", "as_json", is_flag=True, help="Print replay.json on standard output, and nothing else.")
def replay(run: Path, as_json: bool, **asked: Any) -> None:
    """Measure a run's cases again, from its folder or bundle alone, and show both side by side.

    RUN itself is not touched. The new run's folder also holds constraints.txt (the packages' versions of then: pip
    install -c constraints.txt ...) and replay.json. Speed-ups are compared, each over the reference of its own run.
    """
    from optibench import api
    from optibench.render import json as render_json
    from optibench.render import replay as render

    progress = Progress()
    try:
        found = api.replay(run, say=progress.say, **asked)
    finally:
        progress.done()
    click.echo(render_json.render(found.replay) if as_json else render.text(found.replay), nl=False)
    click.echo(f"\nThe new run: {found.path}", err=True)
