"""Charts: Vega-Lite specifications made into SVG or PNG by vl-convert, without a browser or a network.

A specification is plain data. Every text of a run goes into it as data or as a title, never as a field's name or an
expression, so nothing of it is evaluated. Colours come from a palette: of files (light, dark) or of a page, whose
style sheet decides them, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from optibench.errors import NotInstalled, OptibenchError

SUFFIXES = (".svg", ".png")
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"
PNG_SCALE = 2.0
INSTALL = "pip install 'optibench[charts]'"

Spec = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours by what they mean. ``series`` tells backends apart: eight that differ in lightness too, so that they can
    be told without seeing colours (Okabe and Ito, "Color Universal Design", 2008, darkened or lightened for text)."""

    ground: str | None
    ink: str
    quiet: str
    line: str
    accent: str
    better: str
    worse: str
    series: tuple[str, ...]


LIGHT = Palette(
    ground="#ffffff",
    ink="#1d2733",
    quiet="#566472",
    line="#dde3e9",
    accent="#0a58a5",
    better="#1b7837",
    worse="#b2182b",
    series=("#4d5866", "#0a6fb8", "#c75200", "#00805f", "#a63d83", "#8a6d00", "#2f3fb0", "#b01e3c"),
)
DARK = Palette(
    ground="#14191f",
    ink="#e6ebf0",
    quiet="#a3b0bd",
    line="#2f3943",
    accent="#6cb6ff",
    better="#5cc97f",
    worse="#ff8a80",
    series=("#b4bfca", "#5db3f0", "#f2994f", "#3ecfa3", "#e38cc4", "#d9bd45", "#9aa5ff", "#ff8095"),
)
NAMES = ("ink", "quiet", "line", "accent", "better", "worse")
PAGE = Palette(
    ground=None,
    **{name: f"var(--{name})" for name in NAMES},
    series=tuple(f"var(--series-{number})" for number in range(1, len(LIGHT.series) + 1)),
)
"""Colours that the page's style sheet gives (``variables``)."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A specification (``finished`` gives it its look) and what is said of it: ``text`` how to read it,
    ``alternative`` what a reader who does not see it is told."""

    name: str
    title: str
    text: str
    alternative: str
    spec: Spec


def variables(palette: Palette) -> str:
    """The palette as CSS custom properties, for the style sheet of a page."""
    colors = {"ground": palette.ground, **{name: getattr(palette, name) for name in NAMES}}
    colors |= {f"series-{number}": color for number, color in enumerate(palette.series, 1)}
    return " ".join(f"--{name}: {color};" for name, color in colors.items())


def finished(spec: Spec, palette: Palette) -> Spec:
    """The specification with the look that all charts share."""
    axis = {
        "labelColor": palette.quiet,
        "titleColor": palette.quiet,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": palette.line,
        "domainColor": palette.line,
        "tickColor": palette.line,
        "labelLimit": 300,
    }
    legend = {
        "labelColor": palette.ink,
        "titleColor": palette.quiet,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "labelLimit": 220,
    }
    title = {"color": palette.ink, "subtitleColor": palette.quiet, "anchor": "start", "fontSize": 14}
    return {
        "$schema": SCHEMA,
        "background": palette.ground,
        "padding": 8,
        **spec,
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": axis,
            "legend": legend,
            "title": {**title, "subtitleFontSize": 12},
            "header": {"labelColor": palette.ink, "titleColor": palette.quiet, "labelFontSize": 12},
            # What a chart shows stands in tables too; a reader is told of the chart by its caption.
            "aria": False,
            **spec.get("config", {}),
        },
    }


def logarithmic(values: Iterable[float], factor: float, title: str) -> Spec:
    """Scale and axis of a channel for positive values: from the least to the greatest with ``factor`` as room, and
    a few round numbers on it."""
    numbers = list(values)
    low, high = min(numbers) / factor, max(numbers) * factor
    return {
        "scale": {"type": "log", "domain": [low, high], "nice": False},
        "axis": {"title": title, "format": "~f", "values": _round_numbers(low, high)},
    }


def _round_numbers(low: float, high: float) -> list[float]:
    """Four numbers or more: powers of ten, with more between them the nearer the ends; else evenly divided."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        found = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
        if len(found) >= 4:
            return [float(f"{tick:.6g}") for tick in found]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(one for one in (1, 2, 5, 10) if one * power >= rough)
    return [float(f"{step * number:.6g}") for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def drawn(spec: Spec, suffix: str) -> bytes:
    """A finished specification as SVG or PNG. Errors: another suffix; vl-convert is not installed."""
    if suffix not in SUFFIXES:
        raise OptibenchError(f"A picture's file ends in {' or '.join(SUFFIXES)}, not {suffix or 'nothing'}.")
    return svg(spec).encode() if suffix == ".svg" else png(spec)


def svg(spec: Spec) -> str:
    """A finished specification as SVG. Error: vl-convert is not installed."""
    return str(_vl_convert().vegalite_to_svg(_drawable(spec), allowed_base_urls=[]))


def png(spec: Spec) -> bytes:
    """A finished specification as PNG, at twice its size. Error: vl-convert is not installed."""
    return bytes(_vl_convert().vegalite_to_png(_drawable(spec), scale=PNG_SCALE, allowed_base_urls=[]))


def _drawable(spec: Spec) -> str:
    """The specification with characters beyond U+FFFF (emoji) spelled out: a label too long for its place is cut
    between the two halves that JavaScript has of one, and vl-convert cannot measure half a character."""
    return re.sub("[\U00010000-\U0010ffff]", lambda m: f"\\\\U{ord(m[0]):08x}", json.dumps(spec, ensure_ascii=False))


def svg_in_page(spec: Spec) -> str:
    """The SVG as a page can hold it: hidden from readers that are told what it shows in words, and without style
    attributes, which the page's policy does not allow: they become attributes of their own."""
    hidden = svg(spec).replace("<svg ", '<svg aria-hidden="true" ', 1)
    return re.sub(r' style="([^"<>]*)"', _attributes, hidden)


def _attributes(found: re.Match[str]) -> str:
    pairs = (part.partition(":") for part in found[1].split(";"))
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in pairs if value)


def bundle() -> str:
    """The JavaScript that makes drawings interactive: ``vegaEmbed`` and what it needs, about 900 kB."""
    return str(_vl_convert().javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def check_suffix(path: Path) -> str:
    """The suffix of a picture's file, in small letters. Error: it is no picture's."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptibenchError(f"{path}: a picture's file ends in {' or '.join(SUFFIXES)}.")
    return suffix


def _vl_convert() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise NotInstalled(f"Pictures need the package vl-convert-python: {INSTALL}") from error
    found: ModuleType = vl_convert  # typed where the package is not installed, too
    return found
