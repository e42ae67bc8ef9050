"""What several commands share: options made into a request, and rows as columns, files that are written."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

# Between the options and the api


def request_from_options(model: str, asked: dict[str, Any]) -> Any:
    """The options as a Request; those that were not given are left to its defaults."""
    from optibench.plan import Request

    names = {"batch": "batches", "length": "lengths", "budget": "budget_seconds", "wait_quiet": "wait_quiet_seconds"}
    names |= {"input": "input_shapes", "inputs": "input_file"}
    given = {names.get(name, name): value for name, value in asked.items() if value is not None}
    given["input_shapes"] = dict(given.get("input_shapes", ()))
    if "targets_dir" in given:
        given["targets_dir"] = str(given["targets_dir"])
    return Request(model=model, **given)


def command_line() -> str:
    """The command as it was typed, for the record; without the path of the program."""
    return shlex.join(["optibench", *sys.argv[1:]])


def drop_standard_output() -> None:
    """What could not be written stays in the buffer: Python would write it again at its end, and exit with 120."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_verdict(text: str) -> None:
    """To standard output, read or not: whoever closes the pipe early (``| head -1``) does not change the verdict, which
    is the exit code."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        drop_standard_output()


def show_rows(rows: list[dict[str, Any]], as_json: bool, cells: Callable[[dict[str, Any]], tuple[str, ...]]) -> None:
    """Rows as aligned columns, or as JSON."""
    if as_json:
        import json

        click.echo(json.dumps(rows, indent=2))
        return
    from optibench.render.plain import plain

    table = [tuple(map(plain, cells(row))) for row in rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)] if table else []
    for row in table:
        click.echo("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]))


def write_new(path: Path, data: bytes) -> None:
    """Writes a file whole. Error: it cannot be written."""
    from optibench import store
    from optibench.errors import OptibenchError

    try:
        store.write_whole(path, data)
    except OSError as error:
        raise OptibenchError(
            f"{path} cannot be written: {error.strerror or error}. Give another file with --out."
        ) from error
