"""Image classification: one picture, one label; the share whose label is the model's first choice, or among five."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.stats import rank_at_most
from optibench.tasks import pictures
from optibench.tasks.base import Encoded
from optibench.tasks.fill_mask import predictions
from optibench.tasks.labels import label_indices
from optibench.tasks.text_classification import answers

if TYPE_CHECKING:
    from optibench.values import Model

__all__ = [
    "AUTO_CLASS",
    "COLUMNS",
    "HAS_TOP1",
    "INPUT",
    "INPUTS_AN_EXAMPLE",
    "METRICS",
    "answers",
    "encode",
    "predictions",
]

INPUT = "image"
AUTO_CLASS = "AutoModelForImageClassification"
COLUMNS = {"image": pictures.IMAGE, "label?": ("label", "labels", "class", "category", "fine_label", "target")}
METRICS = {"top1": rank_at_most(1), "top5": rank_at_most(5)}
HAS_TOP1 = True
INPUTS_AN_EXAMPLE = 1


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
    """One input a row; labels become the index of the model's own label."""
    labels = label_indices([row["label"] for row in rows if "label" in row], model.labels)
    return Encoded(inputs=pictures.encoded(rows, processor, model), labels=labels)
