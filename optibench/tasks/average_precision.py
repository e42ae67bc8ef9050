"""Mean average precision over resamples of pictures.

pycocotools matches boxes within each picture, which no resample changes. What precision is over several pictures is
summed here, as COCO's ``accumulate`` does (101 recall levels): it has no form for two thousand resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError

if TYPE_CHECKING:
    import numpy

    Metric = Callable[[numpy.ndarray, numpy.ndarray], numpy.ndarray]

THRESHOLDS = 10
"""Shares of overlap from which a box is right: .50, .55, ... .95; a bit for each."""
LEVELS = 101


def precision_rows(
    found: Sequence[Sequence[tuple[int, float, list[float]]]], truths: Sequence[Mapping[str, Any]], classes: int
) -> numpy.ndarray:
    """A row a picture: the number of classes, how many true boxes each has, and for every box found its place among
    all of its class in all pictures (the surest first), its class, and at which thresholds it is right (bits 0 to 9)
    or falls into a crowd (bits 10 to 19). Places are -1 where a picture has fewer boxes than another.

    ``found``: class, score and box of each; ``truths``: ``boxes``, ``classes`` and ``crowd`` of each picture.
    """
    import numpy as np

    counts = np.zeros((len(truths), classes))
    for number, truth in enumerate(truths):
        alone = [index for index, crowd in zip(truth["classes"], truth["crowd"], strict=True) if not crowd]
        counts[number] = np.bincount(alone, minlength=classes)[:classes]
    boxes = sorted(_matched(found, truths))  # by class, then from the surest on
    held: list[list[tuple[float, float, float]]] = [[] for _ in truths]
    for place, (index, _, number, bits) in enumerate(boxes):
        held[number].append((place, index, bits))
    slots = np.full((len(truths), max(map(len, held), default=0), 3), -1.0)
    for number, mine in enumerate(held):
        slots[number, : len(mine)] = np.array(mine).reshape(-1, 3)
    first = np.full((len(truths), 1), float(classes))
    return np.concatenate([first, counts, slots.reshape(len(truths), -1)], axis=1)


def _matched(found: Sequence[Any], truths: Sequence[Mapping[str, Any]]) -> list[tuple[int, float, int, int]]:
    """Class, score (negated, so that the surest comes first), picture and bits of each box, by pycocotools."""
    import numpy as np

    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise OptibenchError("Scoring boxes needs the package pycocotools: pip install 'optibench[tasks]'") from error
    true = [
        {"image_id": number, "category_id": index, "bbox": [*box], "area": box[2] * box[3], "iscrowd": crowd}
        for number, one in enumerate(truths)
        for box, index, crowd in zip(one["boxes"], one["classes"], one["crowd"], strict=True)
    ]
    mine = [
        {"image_id": number, "category_id": index, "score": score, "bbox": [*box]}
        for number, boxes in enumerate(found)
        for index, score, box in boxes
    ]
    judged = sorted({one["category_id"] for one in true})
    if not any(one["category_id"] in judged for one in mine):
        return []
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(len(truths))],
        "annotations": [{**one, "id": number} for number, one in enumerate(true, 1)],  # 0 would read as "no match"
        "categories": [{"id": index} for index in range(1 + max(one["category_id"] for one in (*true, *mine)))],
    }
    with redirect_stdout(StringIO()):  # it tells how far it is
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(mine), "bbox")
        evaluation.params.catIds = judged
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [max(map(len, found))]
        evaluation.evaluate()
    powers = 1 << np.arange(THRESHOLDS)
    matched = []
    for one in filter(None, evaluation.evalImgs):
        ignored = one["dtIgnore"].astype(bool)
        right = (one["dtMatches"] > 0) & ~ignored
        bits = powers @ right + (powers << THRESHOLDS) @ ignored
        for score, mark in zip(one["dtScores"], bits, strict=True):
            matched.append((int(one["category_id"]), -float(score), int(one["image_id"]), int(mark)))
    return matched


def mean_average_precision(thresholds: Sequence[int]) -> Metric:
    """The metric over these thresholds (0: .50), of classes that have a true box; 0 where none has."""

    def metric(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
        import numpy as np

        classes = int(predictions[0, 0, 0])
        true = predictions[..., 1 : 1 + classes].sum(axis=1)
        slots = predictions[..., 1 + classes :].reshape(len(predictions), -1, 3).astype(np.int64)
        weights, class_of, bits_of = _by_place(slots)
        seen = weights.cumsum(axis=1)
        total = sum(_precision(weights, seen, class_of, bits_of, true, t) for t in thresholds) / len(thresholds)
        judged = (true > 0).sum(axis=1)
        result: numpy.ndarray = np.where(judged > 0, total / np.maximum(judged, 1), 0.0)
        return result

    return metric


def _by_place(slots: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """How often each resample holds each box (resamples, places), and each place's class and bits. The place 0 is
    none: boxes begin at 1."""
    import numpy as np

    place = slots[..., 0] + 1
    count, resamples = int(place.max(initial=0)) + 1, len(slots)
    offset = np.arange(resamples)[:, None] * count
    weights = np.bincount((place + offset).ravel(), minlength=resamples * count).reshape(resamples, count)
    weights[:, 0] = 0
    class_of, bits_of = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for filled, column in ((class_of, 1), (bits_of, 2)):
        filled[place] = slots[..., column]
        filled[0] = 0
    return weights, np.maximum.accumulate(class_of), bits_of  # boxes in no resample have the class of those before


def _precision(
    weights: numpy.ndarray,
    seen: numpy.ndarray,
    class_of: numpy.ndarray,
    bits_of: numpy.ndarray,
    true: numpy.ndarray,
    threshold: int,
) -> numpy.ndarray:
    """The sum over classes of their average precision at a threshold, a number a resample.

    Precision is looked at where a box is right: everywhere else it is lower than at the one before.
    """
    import numpy as np

    places = np.nonzero(bits_of >> threshold & 1)[0]
    if not len(places):
        return np.zeros(len(weights))
    if (ignored := (bits_of >> threshold + THRESHOLDS & 1).astype(bool)).any():
        seen = np.where(ignored, 0, weights).cumsum(axis=1)
    mine = class_of[places]
    before = np.searchsorted(class_of, mine)  # where the class begins
    ranks = seen[:, places] - np.where(before > 0, seen[:, before - 1], 0)
    held = weights[:, places]
    sums = np.concatenate([np.zeros((len(weights), 1), np.int64), held.cumsum(axis=1)], axis=1)
    right = sums[:, 1:] - sums[:, np.searchsorted(mine, mine)]
    # The best precision from here to the end of the class; the steps keep one class from reaching into the one before.
    steps = 2.0 * (mine[-1] - mine)
    precision = right / np.maximum(ranks, 1) + steps
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1] - steps
    levels = np.linspace(0, 1, LEVELS)
    wanted = np.maximum(true[:, mine], 1)
    reached = np.searchsorted(levels, right / wanted, side="right")
    until = np.searchsorted(levels, (right - held) / wanted, side="right")
    until[right == held] = 0  # the first of a class: the level of recall 0 goes with it
    result: numpy.ndarray = (best * (reached - until)).sum(axis=1) / LEVELS
    return result
