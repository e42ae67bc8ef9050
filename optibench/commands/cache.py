"""`optibench cache`: what is kept between runs."""

from __future__ import annotations

import click

from optibench.commands.shared import show_rows
from optibench.errors import OptibenchError
from optibench.options import Commands, Duration


@click.group("cache", cls=Commands)
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
        api.cache_prune(older_than)  # what killed runs left half made is no entry
        click.echo("No entry to remove.")
        return
    if not yes:
        click.confirm(f"Remove {len(rows)} entries ({total:.1f} MB) from {api.cache_root()}?", abort=True)
    api.cache_prune(older_than)
    click.echo(f"Removed {len(rows)} entries, {total:.1f} MB.")
