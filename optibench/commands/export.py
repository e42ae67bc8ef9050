"""`optibench export`: one artifact, with all that is needed to use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from optibench.commands.shared import request_from_options
from optibench.options import data_options, device_option, model_options
from optibench.progress import Progress


@click.command()
@click.argument("model")
@click.option("--backend", required=True, help="onnxruntime, openvino, tensorrt-rtx, or a plugin's.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, int8, int8-dynamic, int8-weights, ...")
@click.option("--target", default="cpu", show_default=True, help="What it is built for.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder for the artifact.")
@device_option
@data_options
@model_options
def export(model: str, backend: str, precision: str, target: str, out: Path, **asked: Any) -> None:
    """Write one build of MODEL to a folder, with its tokenizer, config and a README whose lines run it."""
    from optibench import api

    progress = Progress()
    request = request_from_options(
        model, {**asked, "targets": (target,), "backends": (backend,), "precisions": (precision,)}
    )
    try:
        written = api.export(request, out, progress.say)
    finally:
        progress.done()
    click.echo(f"{written}")
    click.echo(f"See {out / 'README.md'} for the lines that run it.", err=True)
