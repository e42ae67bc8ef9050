"""`optibench report`: a kept run as a page, a table or a picture."""

from __future__ import annotations

from pathlib import Path

import click

from optibench.commands.shared import write_new

FORMATS = ("html", "md", "csv", "json", "junit", "tex", "svg", "png", "text")
FILES = ("html", "svg", "png")
"""Formats that go to a file: nobody reads them in a terminal."""
PICTURES = ("svg", "png")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", metavar="|".join(FORMATS), default="html", show_default=True, help="Or a plugin's renderer."
)
@click.option(
    "--chart", metavar="NAME", help="With svg and png: tradeoff, latency, shapes, first-answer, memory, peak."
)
@click.option("--dark", is_flag=True, help="With svg and png: on a dark ground.")
@click.option("--open", "show", is_flag=True, help="Open the file when it is written.")
@click.option("--out", type=click.Path(path_type=Path), help="The file. [default: in RUN, or here for a bundle]")
def report(run: Path, form: str, chart: str | None, dark: bool, show: bool, out: Path | None) -> None:
    """Show a kept run, from its folder or bundle: as one HTML page, a table, or a chart for a README.

    \b
    optibench report RUN --open                        report.html: opens from disk, needs no network
    optibench report RUN --format md                   on standard output, as csv, json, junit, tex and text
    optibench report RUN --format svg --chart latency --out latency.svg

    The pages and pictures need the extra charts: pip install 'optibench[charts]'.
    """
    from optibench import api

    if (chart or dark) and form not in PICTURES:
        raise click.UsageError("--chart and --dark go with --format svg and png.")
    if show and form not in FILES:
        raise click.UsageError(f"--open goes with --format {', '.join(FILES)}.")
    data, warnings = api.report(run, form, **({"chart": chart, "dark": dark} if form in PICTURES else {}))
    for warning in warnings:
        click.echo(warning, err=True)
    if out is None and form not in FILES:
        click.echo(data.decode(), nl=False)
        return
    path = out or _default(run.expanduser(), form, chart)
    write_new(path, data)
    click.echo(f"Written: {path}", err=True)
    if show:
        click.launch(str(path.resolve()))


def _default(run: Path, form: str, chart: str | None) -> Path:
    """report.html in the run's folder; beside nothing else that a bundle is."""
    name = f"{chart or 'report'}.{form}"
    return run / name if run.is_dir() else Path(f"{run.name.removesuffix('.optibench.zip')}-{name}")
