"""Zero-shot classification by models of natural language inference: the label whose sentence the text entails most.

The candidates are the labels that occur in the data; each makes one input, "This example is LABEL.", with every text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.stats import accuracy, f1_macro
from optibench.tasks.base import Encoded, tokenized
from optibench.tasks.labels import name_of_label, some
from optibench.tasks.text_classification import answers

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

__all__ = ["AUTO_CLASS", "COLUMNS", "HAS_TOP1", "METRICS", "answers", "encode", "predictions", "row_of"]

AUTO_CLASS = "AutoModelForSequenceClassification"
COLUMNS = {
    "text": ("text", "sentence", "review", "premise", "content", "body"),
    "label": ("label", "labels", "class", "category", "topic", "target"),
}
METRICS = {"accuracy": accuracy, "f1": f1_macro}
HAS_TOP1 = True
TEMPLATE = "This example is {}."
"""transformers' own."""
WITHOUT_DATA = ("technology", "sports")


def row_of(text: str) -> dict[str, Any]:
    """A plain text with candidates that need no data."""
    return {"text": text, "candidates": WITHOUT_DATA}


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """An input for every text and candidate. Error: no label of the model is named entailment."""
    entailment = next((i for i, name in enumerate(model.labels) if name.lower().startswith("entail")), None)
    if entailment is None:
        raise OptibenchError(
            "zero-shot-classification needs a model of natural language inference, one of whose labels is named "
            f"entailment. This model's labels: {some(model.labels) or 'none'}. Mend id2label in its config.json, or "
            "choose another --task."
        )
    names = [name_of_label(row["label"]) for row in rows if "label" in row]
    candidates = sorted(set(names)) or list(WITHOUT_DATA)
    if len(candidates) < 2:
        raise OptibenchError(f"All rows have the label {candidates[0][:80]!r}; there must be two to choose from.")
    inputs = (
        tokenized(tokenizer, str(row["text"]), TEMPLATE.format(candidate), model)
        for row in rows
        for candidate in candidates
    )
    return Encoded(
        inputs=inputs,
        labels=[float(candidates.index(name)) for name in names],
        truths={"entailment": entailment, "candidates": len(candidates)},
    )


def predictions(answers: numpy.ndarray, labels: Mapping[str, int]) -> numpy.ndarray:
    """Of each text the candidate with the largest logit of entailment."""
    entailed = answers[:, labels["entailment"]].reshape(-1, labels["candidates"])
    result: numpy.ndarray = entailed.argmax(axis=1).astype(float)
    return result
