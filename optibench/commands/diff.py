"""`optibench diff`: two kept runs held against each other."""

from __future__ import annotations

from pathlib import Path

import click

from optibench.commands.shared import write_new

FORMATS = ("text", "md", "html", "json")


@click.command()
@click.argument("run_a", metavar="RUN_A", type=click.Path(path_type=Path))
@click.argument("run_b", metavar="RUN_B", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write it to a file. [html: by default ./diff.html]")
def diff(run_a: Path, run_b: Path, form: str, out: Path | None) -> None:
    """Show what changed from RUN_A to RUN_B: two models, machines, commits or versions, as folders or bundles.

    The same model on the same kind of machine is compared by speed-ups, each over the reference of its own run; else
    latencies are. What cannot be compared is named with the reason. To be told by an exit code whether something got
    worse: optibench gate.
    """
    from optibench import api
    from optibench.render import difference, difference_page
    from optibench.render import json as as_json

    found = api.diff(run_a, run_b)
    renders = {
        "text": difference.text,
        "md": difference.markdown,
        "html": difference_page.render,
        "json": as_json.render,
    }
    made = renders[form](found)
    path = out or (Path("diff.html") if form == "html" else None)
    if path is None:
        click.echo(made, nl=False)
        return
    write_new(path, made.encode())
    click.echo(f"Written: {path}", err=True)
