"""`optibench targets` and `optibench backends`: what is known, and whether it can run here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from optibench.commands.shared import show_rows
from optibench.errors import OptibenchError


@click.command("targets")
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


@click.command("backends")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_backends(as_json: bool) -> None:
    """List the backends, whether each can run here, and its precisions; then the tasks."""
    from optibench import host, plugins, targets

    here = host.describe()
    able = [t for t in targets.load().values() if targets.mismatch(t, here) is None]
    rows: list[dict[str, Any]] = []
    for name in plugins.names("backend"):
        try:
            module = plugins.load("backend", name)
            precisions, whys = list(module.PRECISIONS), [module.probe(target) for target in able]
        except OptibenchError as error:  # a broken plugin does not hide the others
            precisions, whys = [], [str(error)]
        runs = any(why is None for why in whys)
        reason = None if runs else "; ".join(dict.fromkeys(filter(None, whys))) or "no target fits this machine"
        if name != "fake":  # for tests; it says so itself, and would only puzzle here
            rows.append({"backend": name, "here": runs, "reason": reason, "precisions": precisions})
    show_rows(
        rows, as_json, lambda r: (r["backend"], "yes" if r["here"] else "no", r["reason"] or ", ".join(r["precisions"]))
    )
    if not as_json:
        click.echo(f"\nTasks: {', '.join(plugins.names('task'))}")
