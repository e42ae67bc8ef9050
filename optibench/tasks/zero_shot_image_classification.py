"""Zero-shot image classification (CLIP, SigLIP): of the data's labels, the one whose sentence fits the picture best.

One call compares ``batch`` pictures with all candidates, "This is a photo of LABEL."; both towers run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.stats import rank_at_most
from optibench.tasks import pictures
from optibench.tasks.base import Encoded, Pair, first_output
from optibench.tasks.fill_mask import predictions
from optibench.tasks.labels import name_of_label

if TYPE_CHECKING:
    import numpy

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

INPUT = "image+text"
AUTO_CLASS = "AutoModelForZeroShotImageClassification"
COLUMNS = {"image": pictures.IMAGE, "label?": ("label", "labels", "class", "category", "fine_label", "target")}
METRICS = {"top1": rank_at_most(1), "top5": rank_at_most(5)}
HAS_TOP1 = True
INPUTS_AN_EXAMPLE = 1
TEMPLATE = "This is a photo of {}."
"""transformers' own."""
WITHOUT_DATA = ("a cat", "a dog", "a car", "a tree", "a house", "a person", "the sea", "food")


def encode(rows: Sequence[Mapping[str, Any]], processor: Pair, model: Model, seed: int) -> Encoded:
    """One input a picture; the candidates' tokens are shared by all of them."""
    import numpy as np

    names = [name_of_label(row["label"]) for row in rows if "label" in row]
    candidates = sorted(set(names)) or list(WITHOUT_DATA)
    if len(candidates) < 2:
        raise OptibenchError(f"All rows have the label {candidates[0][:80]!r}; there must be two to choose from.")
    # Padded to all positions of the text tower, which is how such models were trained: some read the last one.
    length = (model.config.get("text_config") or {}).get("max_position_embeddings")
    texts = processor.tokenizer(
        [TEMPLATE.format(candidate) for candidate in candidates],
        padding="max_length" if length else True,
        truncation=True,
        max_length=length or model.max_length,
    )
    return Encoded(
        inputs=pictures.encoded(rows, processor.media, model),
        labels=[float(candidates.index(name)) for name in names],
        shared={name: np.asarray(values, np.int64) for name, values in texts.items()},
    )


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """How well each candidate fits each picture, against the mean of all: only differences decide."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits_per_image"), np.float32)
    centred: numpy.ndarray = logits - logits.mean(axis=1, keepdims=True)
    return centred
