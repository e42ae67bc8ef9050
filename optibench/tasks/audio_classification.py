"""Audio classification: one sound, one label; accuracy and macro F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.stats import accuracy, f1_macro
from optibench.tasks import sounds
from optibench.tasks.base import Encoded
from optibench.tasks.labels import label_indices
from optibench.tasks.text_classification import answers, predictions

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

INPUT = "sound"
AUTO_CLASS = "AutoModelForAudioClassification"
COLUMNS = {"audio": sounds.AUDIO, "label?": ("label", "labels", "class", "category", "genre", "command")}
METRICS = {"accuracy": accuracy, "f1": f1_macro}
HAS_TOP1 = True
INPUTS_AN_EXAMPLE = 1


def encode(rows: Sequence[Mapping[str, Any]], extractor: Any, model: Model, seed: int) -> Encoded:
    """One input a row; labels become the index of the model's own label."""
    labels = label_indices([row["label"] for row in rows if "label" in row], model.labels)
    return Encoded(inputs=sounds.encoded(rows, extractor), labels=labels)
