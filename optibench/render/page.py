"""Pages: one self-contained HTML file each, that runs nothing but its own scripts and fetches nothing.

- Whatever a template prints is escaped, and first made plain (plain.py) and cut to a readable length, so that no
  template can forget it. Only ``Markup`` passes as it is: our own style, scripts and drawings.
- A Content-Security-Policy in the page names the style and the scripts by their hashes and forbids all else: no
  network, no eval, no inline handlers or style attributes, whatever got into it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.errors import NotInstalled
from optibench.render.chart import DARK, INSTALL, LIGHT, PAGE, Chart, finished, svg_in_page, variables
from optibench.render.plain import plain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LONGEST = 2_000
"""Letters of a text on a page: an error message of a megabyte would be all that there is to see."""


def page(template: str, *, scripts: Sequence[str] = (), sources: str = "", **values: Any) -> str:
    """The template (of templates/) as a whole document. ``scripts`` are JavaScript texts, run in this order; a site of
    several files names in ``sources`` where else scripts may come from (``'self'``). Error: jinja2 is not installed."""
    from optibench import __version__

    style = _style()
    safe = [script_text(script) for script in scripts]
    return str(
        _environment()
        .get_template(template)
        .render(
            style=_markup(style),
            scripts=[_markup(script) for script in safe],
            policy=policy([style], safe, sources),
            optibench_version=__version__,
            **values,
        )
    )


def drawing(chart: Chart) -> dict[str, Any]:
    """A chart (of the palette PAGE) as the macro ``chart`` of templates/macros.html takes it: drawn, with the
    specification that makes it interactive beside. Error: vl-convert is not installed."""
    spec = finished(chart.spec, PAGE)
    # vl-convert escapes what it draws.
    return {"chart": chart, "svg": _markup(svg_in_page(spec)), "spec": spec}


def policy(styles: Iterable[str], scripts: Iterable[str], sources: str = "") -> str:
    """The Content-Security-Policy that allows just these texts."""
    allowed = [*map(_hash, scripts), *([sources] if sources else [])]
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src {' '.join(map(_hash, styles))}",
            f"script-src {' '.join(allowed) or repr('none')}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def script(name: str) -> str:
    """The text of one of our own scripts (templates/NAME)."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def script_text(text: str) -> str:
    """JavaScript as it may stand between script tags: what would end or change the element is written otherwise,
    which means the same within strings and regular expressions."""
    return re.sub(r"<(?=/script|!--)", r"\\x3C", text, flags=re.IGNORECASE)


def shown(text: str) -> str:
    """A stranger's text as a page shows it: one line of plain text, cut with a word about what is missing."""
    if len(text) <= LONGEST:
        return plain(text)
    return f"{plain(text[:LONGEST])} … (cut: {len(text):,} characters; the records hold all)"


def _finalized(value: Any) -> Any:
    return shown(value) if type(value) is str else value  # Markup is another type


def _whole(text: str) -> Any:
    """Filter: a text of our own numbers, which may be longer than a stranger's."""
    from markupsafe import escape

    return escape(text)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _environment() -> Environment:
    try:
        import jinja2
    except ImportError as error:
        raise NotInstalled(f"Pages need the package jinja2: {INSTALL}") from error
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["whole"] = _whole
    return made


@cache
def _style() -> str:
    text = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return text.replace("/* light */", variables(LIGHT)).replace("/* dark */", variables(DARK))


def _markup(text: str) -> Any:
    """Text of our own that is HTML already."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704
