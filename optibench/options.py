"""What the command line's options take: lists, times, columns; and the options that several commands share."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

INTERRUPTED = 130


class Names(click.ParamType[tuple[str, ...]]):
    """Names divided by commas."""

    name = "a,b"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers divided by commas."""

    name = "1,8"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            if numbers := tuple(dict.fromkeys(int(part) for part in value.split(",") if part.strip())):
                return numbers
            raise ValueError("none is given")
        except ValueError:
            self.fail(f"{value!r} is not whole numbers divided by commas, such as 1,8.", param, ctx)


class Duration(click.ParamType[float]):
    """A time such as 90s, 10m or 1h30m, as seconds."""

    name = "10m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", value.strip())
        if not match or not any(match.groups()):
            self.fail(f"{value!r} is not a time such as 90s, 10m or 1h30m.", param, ctx)
        hours, minutes, seconds = (float(group or 0) for group in match.groups())
        return hours * 3600 + minutes * 60 + seconds


class Percent(click.ParamType[float]):
    """A percentage such as 5%, as a share. A bare number is refused: 0.05 may be meant as 5%, or as 0.05%."""

    name = "N%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*%\s*", value)
        if not match:
            self.fail(f"{value!r} is not a percentage such as 5% or 0.5%.", param, ctx)
        return float(match[1]) / 100


class Columns(click.ParamType[dict[str, str]]):
    """Columns by role: role=name,role=name."""

    name = "role=name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        if isinstance(value, dict):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(role.strip() and column.strip() for role, _, column in pairs):
            self.fail(f"{value!r} is not role=name pairs, such as text=review,label=stars.", param, ctx)
        return {role.strip(): column.strip() for role, _, column in pairs}


class InputShape(click.ParamType[tuple[str, str]]):
    """An input's shape: name=2x80x3000:float32, as a pair."""

    name = "name=2x80x3000:type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, _, shape = value.rpartition("=")
        if not name.strip() or not shape.strip():
            self.fail(f"{value!r} is not name=shape, such as mel=2x80x3000:float32.", param, ctx)
        return name.strip(), shape.strip()


class Commands(click.Group):
    """Names the nearest command for one that is not known, and lists commands in the order of their writing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, n=2)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint} Known: {', '.join(self.commands)}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # here, since click ends the process by the signal, and the code is 130 by contract
            raise click.exceptions.Exit(INTERRUPTED) from None


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which NVIDIA GPU is used, where there are several."""
    option = click.option(
        "--device",
        metavar="1|UUID|NAME",
        help="The NVIDIA GPU: nvidia-smi's number, a UUID (of a MIG instance too), a part of the name. "
        "[default: the first that fits the target]",
    )
    return option(command)


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what a model is and what it may do."""
    for option in (
        click.option("--task", help="What the model does; inferred if not given (optibench backends lists the tasks)."),
        click.option("--trust-remote-code", is_flag=True, help="RISK: runs Python code that comes with the model."),
        click.option("--allow-pickle", is_flag=True, help="RISK: loads pickled weights, which can run any code."),
        click.option("--targets-dir", type=click.Path(path_type=Path), help="A folder with target files of your own."),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice."),
    ):
        command = option(command)
    return command


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which data judge and calibrate."""
    for option in (
        click.option("--limit", type=int, metavar="N", help="Judge by at most N rows."),
        click.option(
            "--calibration",
            metavar="FILE_OR_HUB_ID",
            help="Texts, pictures or sounds that calibrate int8; by default a part of --dataset is held out for it.",
        ),
        click.option(
            "--inputs",
            metavar="FILE.npz",
            help="Real arrays for the inputs of an .onnx or .xml file whose purpose is not known.",
        ),
        click.option(
            "--input",
            type=InputShape(),
            multiple=True,
            help="Shape of such a file's input, e.g. mel=2x80x3000:float32; ? for a size of --batch or --length.",
        ),
        click.option("--columns", type=Columns(), help="Which column plays which role, e.g. text=review,label=stars."),
        click.option(
            "--dataset",
            metavar="FILE_OR_HUB_ID",
            help="Labelled data that judge accuracy: .csv, .tsv, .jsonl, .parquet, a folder of pictures or sounds, or "
            "user/name[:config[:split]].",
        ),
    ):
        command = option(command)
    return command


def workload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is built, in which shapes, and how often it is measured."""
    for option in (
        click.option(
            "--accuracy-floor", type=float, default=0.99, show_default=True, help="Share of the score to keep."
        ),
        click.option(
            "--quick", is_flag=True, help="Fewer rounds and data, for a first look; marked so, not for ranking."
        ),
        click.option(
            "--wait-quiet",
            type=Duration(),
            metavar="5m",
            help="Wait so long for others to leave the cores, within the budget.",
        ),
        click.option("--rounds", type=int, help="Rounds at least, 1 to 20. [default: 5]"),
        click.option(
            "--new-tokens", type=int, metavar="N", help="Of generated text: tokens that are timed. [default: 64]"
        ),
        click.option(
            "--length",
            "--prompt-length",
            "length",
            type=Numbers(),
            help="Tokens a row (a prompt, where text is generated); of sound, samples. [default: 128 or the model's "
            "positions if fewer; 80000 samples]",
        ),
        click.option("--batch", type=Numbers(), default="1", show_default=True, help="Batch sizes."),
        click.option(
            "--precisions", type=Names(), help="These precisions, e.g. fp32,bf16,int8,int8-dynamic,int8-weights."
        ),
        click.option("--backends", type=Names(), help="Only these backends (the reference always runs)."),
        click.option(
            "--targets", type=Names(), default="cpu", show_default=True, help="Hardware targets (optibench targets)."
        ),
    ):
        command = option(command)
    return command
