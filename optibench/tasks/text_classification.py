"""Text classification: one text (or a pair), one label; accuracy and macro F1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.stats import accuracy, f1_macro
from optibench.tasks.base import Encoded, first_output, tokenized

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


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a row; labels become the index of the model's own label."""
    inputs = [tokenized(tokenizer, str(row["text"]), _pair(row), model) for row in rows]
    return Encoded(inputs=inputs, labels=label_indices([row["label"] for row in rows if "label" in row], model.labels))


def _pair(row: Mapping[str, Any]) -> str | None:
    return str(row["text_pair"]) if row.get("text_pair") is not None else None


def label_indices(found: Sequence[Any], known: Sequence[str]) -> list[float]:
    """Labels as indices into the model's labels: by name (whatever the case), else as whole numbers from 0."""
    if found and len(known) == 1:
        raise OptibenchError(
            f"This model gives one number ({known[0]}), not classes, so labels cannot judge it as text-classification. "
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
                f"Labels in the data: {_some(sorted({str(v) for v in found}))}. "
                f"The model's labels: {_some(known) or 'not known, so whole numbers from 0 are expected'}. "
                "Map the data's labels to those (by name or index), or say which column with --columns label=NAME."
            )
        indices.append(float(index))
    return indices


def _whole_number(value: Any) -> int | None:
    """``value`` as an index: 1, "1" and 1.0 are alike; None where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number >= 0 and number.is_integer() else None


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(name[:80] for name in names[:most]) + (f", … ({len(names)})" if len(names) > most else "")


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """The logits."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    return logits.reshape(len(logits), -1)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Index of the largest logit (of a single logit: whether it is positive)."""
    result: numpy.ndarray = answers.argmax(axis=1) if answers.shape[1] > 1 else (answers[:, 0] > 0)
    return result.astype(float)
