"""`optibench publish` and `optibench leaderboard publish`: to the Hugging Face Hub (docs/publishing.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from optibench.progress import Progress

if TYPE_CHECKING:
    from optibench.publish import Shipped

Command = TypeVar("Command", bound=Callable[..., Any])


def hub_options(command: Command) -> Command:
    """Who sees it, on which branch, and whether it is sent at all."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing; needs no token."),
        click.option("--revision", "branch", metavar="BRANCH", help="Write to this branch; it is made if need be."),
        click.option("--public/--private", default=False, help="Who sees a new repository. [default: private]"),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="hub:USER/NAME|hub-dataset:USER/NAME", help="Where to.")
@click.option("--case", metavar="CASE", help="The build to publish. [default: the one that RUN recommends]")
@hub_options
def publish(run: Path, to: str, case: str | None, public: bool, branch: str | None, dry_run: bool) -> None:
    """Publish RUN on the Hugging Face Hub: its recommended build with a model card, or its records as a data set.

    \b
    optibench publish RUN --to hub:user/model-int8 --dry-run
    optibench publish RUN --to hub:user/model-int8 --case cpu/openvino/int8
    optibench publish RUN --to hub-dataset:user/results

    The token is that of hf auth login, or HF_TOKEN.
    """
    from optibench import publish as publishing

    _quiet_unless_watched()
    progress = Progress()
    try:
        done = publishing.run(run, to, case=case, private=not public, branch=branch, dry_run=dry_run, say=progress.say)
    finally:
        progress.done()
    _tell(done)


@click.command("publish")
@click.argument("site", type=click.Path(path_type=Path))
@click.option("--to", required=True, metavar="hub-space:USER/NAME", help="Where to.")
@hub_options
def publish_site(site: Path, to: str, public: bool, branch: str | None, dry_run: bool) -> None:
    """Publish a board, the folder SITE that `leaderboard build` wrote, as a static Space on the Hugging Face Hub."""
    from optibench import publish as publishing

    _quiet_unless_watched()
    _tell(publishing.site(site, to, private=not public, branch=branch, dry_run=dry_run))


def _quiet_unless_watched() -> None:
    """Bars of progress are for a terminal; in a log they are noise."""
    if not sys.stderr.isatty():
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()


def _tell(done: Shipped) -> None:
    from optibench.render.plain import plain
    from optibench.render.units import bytes_text, counted

    total = f"{counted(len(done.sizes), 'file')}, {bytes_text(sum(done.sizes.values()))}"
    who = "private" if done.private else "public"
    if done.sent is None:
        click.echo(f"To {done.place.name} ({who}), {done.place.url}:")
        for name, size in done.sizes.items():
            click.echo(f"  {plain(name)}  {bytes_text(size)}")
        click.echo(f"{total}. Nothing was sent.")
        return
    for note in done.sent.notes:
        click.echo(note, err=True)
    if not done.sent.changed:
        click.echo(f"All of it was there already: nothing was sent to {done.place.name}.", err=True)
    else:
        click.echo(f"{total} on {done.place.name} ({who}), commit {done.sent.commit}.", err=True)
    click.echo(done.sent.url)
