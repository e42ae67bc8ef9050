"""Semantic segmentation: a class for every pixel. Speed, and how near the builds' maps are; no accuracy is claimed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.tasks import pictures
from optibench.tasks.base import Encoded, first_output
from optibench.tasks.graph import predictions

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

__all__ = ["AUTO_CLASS", "COLUMNS", "HAS_TOP1", "INPUT", "METRICS", "answers", "encode", "predictions"]

INPUT = "image"
AUTO_CLASS = "AutoModelForSemanticSegmentation"
COLUMNS = {"image": pictures.IMAGE}
METRICS: dict[str, Any] = {}
HAS_TOP1 = True
MOST_A_SIDE = 32


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
    """One input a picture, without labels."""
    return Encoded(inputs=pictures.encoded(rows, processor, model), labels=[])


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """The classes' logits at pixels of a regular grid, at most 32 a side: maps whole would fill the disk."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    down, right = (max(1, -(-side // MOST_A_SIDE)) for side in logits.shape[2:])
    return [one[:, ::down, ::right].reshape(len(one), -1).T for one in logits]
