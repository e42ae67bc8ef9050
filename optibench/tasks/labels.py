"""A data set's labels as a model's: by name where both have names, else by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optibench.errors import OptibenchError


def label_indices(found: Sequence[Any], known: Sequence[str]) -> list[float]:
    """Labels as indices into the model's labels: by name (whatever the case), else as whole numbers from 0."""
    if found and len(known) == 1:
        raise OptibenchError(
            f"This model gives one number ({known[0]}), not classes, so labels cannot judge it as a classifier. "
            "Leave --dataset out to measure its speed and how near the builds' outputs are."
        )
    by_name = {name.lower(): index for index, name in enumerate(known)}
    names = [str(getattr(value, "name", value)).strip().lower() for value in found]
    if not all(name in by_name for name in names):  # numbers that the data set has names for, but not the model's
        names = [str(value).strip().lower() for value in found]
    indices = []
    for value, name in zip(found, names, strict=True):
        index = by_name.get(name, _whole_number(value))
        # Without names (a stranger's graph) any whole number may be an index.
        if index is None or (known and index >= len(known)):
            raise OptibenchError(
                f"The data has the label {str(value)[:80]!r}, which the model does not have. "
                f"Labels in the data: {some(sorted({str(v) for v in found}))}. "
                f"The model's labels: {some(known) or 'not known, so whole numbers from 0 are expected'}. "
                "Map the data's labels to those (by name or index), or say which column with --columns label=NAME."
            )
        indices.append(float(index))
    return indices


def _whole_number(value: Any) -> int | None:
    """``value`` as an index: 1, "1" and 1.0 are alike; None where it is none."""
    if isinstance(value, str):  # as data frames write truth values to .csv
        value = {"true": 1, "false": 0}.get(value.strip().lower(), value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number >= 0 and number.is_integer() else None


def some(names: Sequence[str], most: int = 12) -> str:
    """Names for a sentence, the first few of many."""
    return ", ".join(name[:80] for name in names[:most]) + (f", … ({len(names)})" if len(names) > most else "")


def name_of_label(label: Any) -> str:
    """A label's name: the data set's own where it has one for the number."""
    return str(getattr(label, "name", label)).strip()
