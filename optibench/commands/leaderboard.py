"""`optibench leaderboard`: runs packed for a public board, checked, and made into its site (docs/leaderboard.md)."""

from __future__ import annotations

import os
from pathlib import Path

import click

from optibench.commands.publish import publish_site
from optibench.commands.shared import print_verdict
from optibench.options import Commands
from optibench.progress import Progress

PASSWORD = "OPTIBENCH_SIGNING_PASSWORD"  # noqa: S105 (the name of a variable)
UNSOUND = 1


@click.group("leaderboard", cls=Commands)
def leaderboard() -> None:
    """Pack runs for a public board, check submissions, and build the board as a static site."""


@leaderboard.command("submit")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="A file, or a folder to put it in. [default: ./MODEL-CPU-DATE-ID...]"
)
@click.option(
    "--sign", "key", type=click.Path(path_type=Path), help=f"A secret key of minisign; its password from ${PASSWORD}."
)
def submit(run: Path, out: Path | None, key: Path | None) -> None:
    """Pack the finished RUN (a folder or a bundle) into one file that is fit for a pull request.

    Folders, the machine's and its user's name and secrets are left out. What a board would refuse is not packed.
    """
    from optibench import boards
    from optibench.render.plain import plain

    done = boards.submit(run, out, key, os.environ.get(PASSWORD))
    if done.path is None:
        click.echo(f"No board would take {plain(str(run))}:", err=True)
        for problem in done.problems:
            click.echo(f"  {plain(problem)}", err=True)
        raise click.exceptions.Exit(UNSOUND)
    click.echo(f"{done.path} ({done.path.stat().st_size / 1e6:.2f} MB)")
    if done.signature:
        click.echo(f"{done.signature}")


@leaderboard.command("validate")
@click.argument("places", metavar="FILES...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--keys", type=click.Path(path_type=Path), help="A folder with the public keys (*.pub) that are trusted.")
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def validate(places: tuple[Path, ...], keys: Path | None, as_json: bool) -> None:
    """Check submissions: every statistic is made anew from the raw samples, and more (docs/leaderboard.md).

    FILES are submissions, folders of them, or runs as the submissions that they would be. Exit code 1: one is refused.
    """
    from optibench import boards
    from optibench.render import judged as render

    progress = Progress()
    try:
        found = boards.validate(places, keys, progress.say)
    finally:
        progress.done()
    if as_json:
        import json

        print_verdict(json.dumps(render.plain_values(found), indent=2) + "\n")
    else:
        print_verdict(render.text(found))
    if not all(one.fine for one in found):
        raise click.exceptions.Exit(UNSOUND)


@leaderboard.command("build")
@click.argument("places", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The site's folder; replaced as a whole.")
@click.option("--title", default="Leaderboard", show_default=True, help="What the board is called.")
@click.option("--url", help="Where the site will lie, so that its feed has whole addresses.")
@click.option("--keys", type=click.Path(path_type=Path), help="A folder with the public keys (*.pub) that are trusted.")
@click.option("--without-files", is_flag=True, help="Do not put the submissions' files beside the pages.")
def build(
    places: tuple[Path, ...], out: Path, title: str, url: str | None, keys: Path | None, without_files: bool
) -> None:
    """Build a static site from the submissions and runs in DIR. What is refused is named and left out.

    The site works from a disk (open SITE/index.html) and under any path of a web server.
    """
    from optibench import boards
    from optibench.render import judged as render
    from optibench.render.units import counted

    progress = Progress()
    try:
        done = boards.build(places, out, title=title, address=url, keys=keys, files=not without_files, say=progress.say)
    finally:
        progress.done()
    if done.refused:
        click.echo(render.lines(done.refused), err=True, nl=False)
    click.echo(f"{done.path}: {counted(done.rows, 'row')} of {counted(done.submissions, 'submission')}")


leaderboard.add_command(publish_site)
