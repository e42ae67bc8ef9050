"""Text classification: one text (or a pair), one label; accuracy and macro F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.stats import accuracy, f1_macro
from optibench.tasks.base import Encoded, first_output, tokenized
from optibench.tasks.labels import label_indices

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModelForSequenceClassification"
COLUMNS = {
    "text": ("text", "sentence", "review", "sentence1", "premise", "question", "content", "body"),
    "text_pair?": ("text_pair", "sentence2", "hypothesis"),
    "label": ("label", "labels", "class", "category", "target", "sentiment", "stars", "rating"),
}
METRICS = {"accuracy": accuracy, "f1": f1_macro}
HAS_TOP1 = True
INPUTS_AN_EXAMPLE = 1


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a row; labels become the index of the model's own label."""
    inputs = (tokenized(tokenizer, str(row["text"]), _pair(row), model) for row in rows)
    return Encoded(inputs=inputs, labels=label_indices([row["label"] for row in rows if "label" in row], model.labels))


def _pair(row: Mapping[str, Any]) -> str | None:
    return str(row["text_pair"]) if row.get("text_pair") is not None else None


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """The logits."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    return logits.reshape(len(logits), -1)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Index of the largest logit (of a single logit: whether it is positive)."""
    result: numpy.ndarray = answers.argmax(axis=1) if answers.shape[1] > 1 else (answers[:, 0] > 0)
    return result.astype(float)
