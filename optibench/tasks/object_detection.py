"""Object detection (DETR and its kin): a class and a box for each query. Speed, and how near the builds' answers are;
no accuracy is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optibench.tasks import pictures
from optibench.tasks.base import first_output
from optibench.tasks.graph import predictions
from optibench.tasks.image_segmentation import encode

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

__all__ = ["AUTO_CLASS", "COLUMNS", "HAS_TOP1", "INPUT", "METRICS", "answers", "encode", "predictions"]

INPUT = "image"
AUTO_CLASS = "AutoModelForObjectDetection"
COLUMNS = {"image": pictures.IMAGE}
METRICS: dict[str, Any] = {}
HAS_TOP1 = False


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """Each query's logits and box."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    boxes = outputs.get("pred_boxes")
    return list(logits if boxes is None else np.concatenate([logits, np.asarray(boxes, np.float32)], axis=-1))
