"""`optibench env`: tools that live in environments of their own."""

from __future__ import annotations

import click

from optibench.commands.shared import show_rows
from optibench.options import Commands
from optibench.progress import Progress


@click.group("env", cls=Commands)
def env_group() -> None:
    """Add and remove tools that need an environment of their own (they lie in the artifact cache)."""


@env_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def env_list(as_json: bool) -> None:
    """List the tools, whether each is here, and what it is for."""
    from optibench import api, tools
    from optibench.cache import Cache

    cache = Cache(api.cache_root())
    rows = [
        {"tool": tool.name, "here": (size := tools.size_of(tool, cache)) is not None, "bytes": size}
        | {"versions": tool.versions, "what": tool.what}
        for tool in tools.TOOLS.values()
    ]
    show_rows(
        rows,
        as_json,
        lambda r: (r["tool"], f"{r['bytes'] / 1e6:.0f} MB" if r["here"] else "not here", r["what"]),
    )


@env_group.command("add")
@click.argument("tool")
def env_add(tool: str) -> None:
    """Make TOOL's environment (pip fetches what it needs); one that is here already is checked."""
    from optibench import api, tools
    from optibench.cache import Cache

    progress = Progress()
    try:
        python = tools.add(tool, Cache(api.cache_root()), progress.say)
    finally:
        progress.done()
    click.echo(f"{tool} is in {python.parent.parent}")


@env_group.command("remove")
@click.argument("tool")
def env_remove(tool: str) -> None:
    """Remove TOOL's environment."""
    from optibench import api, tools
    from optibench.cache import Cache

    size = tools.remove(tool, Cache(api.cache_root()))
    click.echo(f"Removed {tool}, {size / 1e6:.0f} MB.")
