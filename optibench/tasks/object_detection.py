"""Object detection (DETR and its kin): a class and a box for each query; mean average precision where boxes are given.

Boxes are matched by pycocotools, as COCO's own evaluation does; precision over all pictures is average_precision.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import media
from optibench.boxes import objects_of
from optibench.errors import OptibenchError
from optibench.spool import numbered
from optibench.tasks import pictures
from optibench.tasks.average_precision import mean_average_precision, precision_rows
from optibench.tasks.base import Encoded, first_output
from optibench.tasks.labels import label_indices

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

INPUT = "image"
AUTO_CLASS = "AutoModelForObjectDetection"
COLUMNS = {"image": pictures.IMAGE, "objects?": ("objects", "annotations", "boxes")}
WHOLE = ("objects",)
METRICS = {"map": mean_average_precision(range(10)), "map@50": mean_average_precision([0])}
HAS_TOP1 = False
MOST_FOUND = 100
"""Boxes of a picture that count, the surest first: COCO's rule."""


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
    """One input a picture. True boxes as shares of the picture, as models tell theirs; classes by the model's index."""
    judged = [(row, objects_of(row["objects"], number)) for number, row in numbered(rows) if "objects" in row]
    indices = iter(label_indices([one for _, found in judged for one in found.classes], model.labels))
    truths: list[dict[str, Any]] = []
    for row, found in judged:
        width, height = media.size_of(row["image"])
        truths.append(
            {
                "boxes": [[x / width, y / height, w / width, h / height] for x, y, w, h in found.boxes],
                "classes": [int(next(indices)) for _ in found.classes],
                "crowd": found.crowd,
            }
        )
    return Encoded(
        inputs=pictures.encoded(rows, processor, model),
        labels=[float(len(one["boxes"])) for one in truths],
        truths={"labels": len(model.labels), "pictures": truths},
    )


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """Each query's logits and box (its middle, width and height as shares of the picture)."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    boxes = outputs.get("pred_boxes")
    return list(logits if boxes is None else np.concatenate([logits, np.asarray(boxes, np.float32)], axis=-1))


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """What ``mean_average_precision`` takes, of the surest boxes of each picture."""
    classes = labels["labels"]
    if (found := answers[0].shape[1] - 4 if len(answers) else classes) < max(1, classes):
        raise OptibenchError("This model gives no pred_boxes, so boxes cannot judge it. Leave --dataset out.")
    return precision_rows([_found(one, classes) for one in answers], labels["pictures"], classes or found - 1)


def _found(answer: numpy.ndarray, classes: int) -> list[tuple[int, float, list[float]]]:
    """Class, score and box (left, top, width, height) of a picture's surest boxes.

    As the model's own post-processing in transformers does: where there is a class more than the model has labels it
    stands for "nothing", and classes exclude each other (DETR); else each is a yes or no (Deformable DETR, RT-DETR).
    """
    import numpy as np

    logits, boxes = answer[:, :-4].astype(np.float64), answer[:, -4:]
    if logits.shape[1] != classes:
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = (shares / shares.sum(axis=1, keepdims=True))[:, :-1]
        shares = np.where(shares == shares.max(axis=1, keepdims=True), shares, -1.0)  # a query has one class
    else:
        shares = np.exp(-np.logaddexp(0, -logits))
    best = np.argsort(-shares, axis=None, kind="stable")[:MOST_FOUND]
    found = []
    for query, index in zip(*np.unravel_index(best, shares.shape), strict=True):
        if (share := float(shares[query, index])) > 0:
            x, y, w, h = (float(side) for side in boxes[query])
            found.append((int(index), share, [x - w / 2, y - h / 2, w, h]))
    return found
