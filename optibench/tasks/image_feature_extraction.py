"""Features of pictures (DINO's and ViT's own models, CLIP's tower): what the model makes of one, held against the
reference's. Nothing is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.tasks import pictures
from optibench.tasks.base import Encoded, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

INPUT = "image"
AUTO_CLASS = "AutoModel"
COLUMNS = {"image": pictures.IMAGE}
METRICS: dict[str, Any] = {}
HAS_TOP1 = False


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
    """One input a picture."""
    return Encoded(inputs=pictures.encoded(rows, processor, model), labels=[])


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """The vector that stands for the whole picture where there is one, else the mean over its patches."""
    import numpy as np

    found = np.asarray(first_output(outputs, "image_embeds", "pooler_output", "last_hidden_state"), np.float32)
    if found.ndim == 3:
        found = found.mean(axis=1)
    return found.reshape(len(found), -1)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """No labels, no predictions."""
    return answers[:0, 0]
