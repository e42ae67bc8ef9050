"""Semantic segmentation: a class for every pixel; mean intersection over union where masks are given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench import media
from optibench.errors import OptibenchError
from optibench.tasks import pictures
from optibench.tasks.base import Encoded, first_output
from optibench.tasks.labels import some

if TYPE_CHECKING:
    import numpy

    from optibench.tasks.base import Arrays
    from optibench.values import Model

INPUT = "image"
AUTO_CLASS = "AutoModelForSemanticSegmentation"
BY_MASKS = re.compile("For(Universal|Instance)Segmentation$")
"""Architectures that give masks, and a class for each (Mask2Former, MaskFormer, EoMT), and no class for a pixel."""
COLUMNS = {"image": pictures.IMAGE, "mask?": ("mask", "annotation", "segmentation", "seg_map", "label", "labels")}
HAS_TOP1 = True
UNCOMPARED = 3
MOST_A_SIDE = 32
IGNORED = 255
"""A mask's number for "not to be judged": the field's custom."""
STRIP = 64
"""Rows of pixels that are judged at a time: a large picture's maps whole would take gigabytes."""


def auto_class(model: Model) -> str:
    """By what the checkpoint's own class gives."""
    own = str((model.config.get("architectures") or [""])[0])
    if not (found := BY_MASKS.search(own)):
        return AUTO_CLASS
    return f"AutoModelFor{found[1]}Segmentation"


def encode(rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
    """One input a picture, with its mask as ``_mask``; the labels are how many pixels each mask has."""
    reduced = bool(getattr(processor, "do_reduce_labels", False))
    masks = [_mask(row, model.labels, reduced) for row in rows if "mask" in row]
    return Encoded(
        inputs=_with_masks(pictures.encoded(rows, processor, model), masks),
        labels=[float((mask != IGNORED).sum()) for mask in masks],
    )


def _with_masks(
    inputs: Iterator[dict[str, numpy.ndarray]], masks: Sequence[numpy.ndarray]
) -> Iterator[dict[str, numpy.ndarray]]:
    for number, one in enumerate(inputs):
        yield {**one, "_mask": masks[number]} if masks else one


def _mask(row: Mapping[str, Any], known: Sequence[str], reduced: bool) -> numpy.ndarray:
    """A mask's classes by the model's numbers. ``reduced``: the processor's ``do_reduce_labels``, by which 0 is no
    class and the others begin at 1 (ADE20K)."""
    import numpy as np

    found = media.classes_of_pixels(row["mask"])
    if reduced:
        found = np.where(found == 0, IGNORED, np.where(found == IGNORED, IGNORED, found - 1))
    strange = sorted(set(np.unique(found).tolist()) - {IGNORED, *range(len(known) or IGNORED)})
    if strange:
        raise OptibenchError(
            f"The mask of {row['mask'].name} has the classes {some([str(one) for one in strange])}, which the model "
            f"does not have: it has {len(known) or IGNORED} ({some(known) or 'names not known'}), by numbers from 0; "
            f"{IGNORED} is not judged."
        )
    return found.astype(np.uint8)


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """The classes' logits at pixels of a regular grid, at most 32 a side (maps whole would fill the disk), and then
    three rows of counts by class: pixels found right, found, and true."""
    import numpy as np

    logits = _by_class(outputs)
    down, right = (max(1, -(-side // MOST_A_SIDE)) for side in logits.shape[2:])
    grids = [one[:, ::down, ::right].reshape(len(one), -1).T for one in logits]
    if "_mask" in inputs:
        counts = [_counts(one, mask) for one, mask in zip(logits, inputs["_mask"], strict=True)]
    else:
        counts = [np.zeros((UNCOMPARED, logits.shape[1]), np.float32)] * len(logits)
    return [np.concatenate([grid, mine]) for grid, mine in zip(grids, counts, strict=True)]


def _by_class(outputs: Arrays) -> numpy.ndarray:
    """A score for each class at each pixel. Of masks that have a class each it is the sum of the masks that are likely
    to be of the class, as in transformers' own post-processing; the last class is "nothing"."""
    import numpy as np

    if "masks_queries_logits" not in outputs:
        return np.asarray(first_output(outputs, "logits"), np.float32)
    classes = np.asarray(outputs["class_queries_logits"], np.float32)
    shares = np.exp(classes - classes.max(axis=-1, keepdims=True))
    shares = (shares / shares.sum(axis=-1, keepdims=True))[..., :-1]
    masks = 1 / (1 + np.exp(-np.clip(np.asarray(outputs["masks_queries_logits"], np.float32), -80, 80)))
    found: numpy.ndarray = np.einsum("bqc,bqhw->bchw", shares, masks, optimize=True)
    return found


def _counts(logits: numpy.ndarray, mask: numpy.ndarray) -> numpy.ndarray:
    """Pixels found right, found, and true, by class, shape (3, classes): the map is brought to the mask's size, as
    transformers' own post-processing does it, and ignored pixels do not count."""
    import numpy as np

    classes = len(logits)
    across = logits @ _resizing(logits.shape[2], mask.shape[1]).T
    down = _resizing(logits.shape[1], mask.shape[0])
    counts = np.zeros((UNCOMPARED, classes), np.int64)
    for start in range(0, len(mask), STRIP):
        true = mask[start : start + STRIP]
        found = np.einsum("rh,chw->crw", down[start : start + STRIP], across, optimize=True).argmax(axis=0)
        judged = true != IGNORED
        found, true = found[judged], true[judged]
        for row, values in enumerate((found[found == true], found, true)):
            counts[row] += np.bincount(values, minlength=classes)[:classes]
    return counts.astype(np.float32)


def _resizing(size: int, wanted: int) -> numpy.ndarray:
    """Bilinear interpolation as a matrix (wanted, size): torch's ``interpolate`` with ``align_corners=False``."""
    import numpy as np

    places = np.clip((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0, size - 1)
    low = np.minimum(places.astype(np.int64), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    matrix = np.zeros((wanted, size), np.float32)
    share = (places - low).astype(np.float32)
    np.add.at(matrix, (np.arange(wanted), low), 1 - share)
    np.add.at(matrix, (np.arange(wanted), high), share)
    return matrix


def predictions(answers: Sequence[numpy.ndarray], labels: Any) -> numpy.ndarray:
    """Each picture's counts: pixels found right, found, and true, by class, one after the other."""
    import numpy as np

    return np.array([one[-UNCOMPARED:].ravel() for one in answers], float)


def miou(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """The mean over classes of intersection over union, counted over all pictures; classes that are neither true nor
    found anywhere are left out."""
    import numpy as np

    right, found, true = np.split(predictions.sum(axis=1), UNCOMPARED, axis=1)
    union = found + true - right
    shares = np.where(union > 0, right / np.maximum(union, 1), 0.0)
    result: numpy.ndarray = shares.sum(axis=1) / np.maximum((union > 0).sum(axis=1), 1)
    return result


def pixel_accuracy(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """The share of pixels whose class is right."""
    import numpy as np

    right, _, true = np.split(predictions.sum(axis=1), UNCOMPARED, axis=1)
    result: numpy.ndarray = right.sum(axis=1) / np.maximum(true.sum(axis=1), 1)
    return result


METRICS = {"miou": miou, "pixel_accuracy": pixel_accuracy}
