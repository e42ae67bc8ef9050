"""The errors that a user meets: what was wrong, what was expected, what to do.

Library code raises these; only ``cli.py`` prints them and exits with their ``exit_code``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

PLACE = re.compile(r"Exception from |Check '.*' failed at \S+:\d+:$")
"""Lines that only say where in OpenVINO's code something was thrown."""


class OptibenchError(Exception):
    """Wrong use or bad input. The message is complete sentences that a person can act on."""

    exit_code = 2


class NothingMeasured(OptibenchError):
    """Every case was skipped or failed, so there is no result to show."""

    exit_code = 3


class Unsupported(OptibenchError):
    """A case that cannot run here, for a reason that is no fault: it is reported as skipped."""


class CaseFailed(OptibenchError):
    """A case that should have run and did not: it is reported as failed, the other cases go on."""


class NotInstalled(OptibenchError):
    """A package of an extra is missing; the message says what to install. What does not need it goes on."""


class Uncountable(OptibenchError):
    """How much a model computes is not known; the message says because of what. The run goes on without the count."""


def unknown_name(kind: str, name: str, known: Iterable[str], hint: str = "") -> OptibenchError:
    """The error for a name that is not among ``known``: the nearest ones first, then all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [n.lower() for n in names], n=3, cutoff=0.5)
    nearest = sorted((n for n in names if n.lower() in near), key=lambda n: near.index(n.lower()))
    parts = [f"Unknown {kind} {name!r}."]
    if nearest:
        parts.append(f"Did you mean {' or '.join(nearest)}?")
    parts.append(f"Known: {', '.join(names) or 'none'}.")
    if hint:
        parts.append(hint)
    return OptibenchError(" ".join(parts))


def first_line(error: BaseException | str, limit: int = 300) -> str:
    """The first meaningful line of an error, short enough for a table; the log has the rest."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with places in its own code; what is wrong comes after them, often in several lines.
    told = [line for line in lines if not PLACE.match(line)]
    text = " ".join(told) if told and told[0] != lines[0] else lines[0] if lines else ""
    if isinstance(error, BaseException) and not isinstance(error, OptibenchError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        text = text.rstrip(".")  # it stands within a sentence
    return text if len(text) <= limit else text[: limit - 1] + "…"
