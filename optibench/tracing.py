"""What a model is traced with, and checked on a second time: batches of real samples in which nothing looks constant.

With one row the batch would be fixed at 1, and with a mask of ones only the mask would be dropped, both silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.arrays import collated

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]


def batch(samples: Sequence[Arrays], rows: int, length: int | None = None) -> dict[str, numpy.ndarray]:
    """``rows`` real samples as one batch. ``samples`` have one row each; arrays with more are shared by all rows.
    With a ``length`` it is another shape than without, where the samples vary in any."""
    if all(is_text(array) for array in samples[0].values()):
        return ragged(samples, rows, length)
    return stacked(samples, rows, second=length is not None)


def is_text(array: numpy.ndarray) -> bool:
    """Token ids and the like, one row of them."""
    return array.ndim == 2 and array.dtype.kind in "iu" and len(array) == 1


def ragged(samples: Sequence[Arrays], rows: int, length: int | None = None) -> dict[str, numpy.ndarray]:
    """A batch of ``rows`` real samples of different lengths, the longest odd, so that nothing looks constant."""
    import numpy as np

    lengths = [len(next(iter(sample.values()))[0]) for sample in samples]
    by_length = [samples[i] for i in np.argsort(lengths, kind="stable")]
    middle = by_length[len(by_length) // 2 :] or by_length
    longest = length or max(3, (min(len(next(iter(middle[0].values()))[0]), 33) - 1) | 1)
    # Much padding in a second batch: a mask that was lost would hardly be seen by a little.
    sizes = [longest // 2**row if length else longest - 3 * row for row in range(rows)]
    cut = [resized(middle[row % len(middle)], max(2, size)) for row, size in enumerate(sizes)]
    batch = collated(cut, {})
    if "token_type_ids" in batch:  # constant zeros would be folded away
        batch["token_type_ids"][:, longest // 2 :] |= batch["attention_mask"][:, longest // 2 :]
    return batch


def resized(sample: Arrays, length: int) -> dict[str, numpy.ndarray]:
    """A sample's row, cut to ``length`` tokens or with its own repeated up to it. Its last token stays where it stands
    and is not repeated: it may be what ends a text, of which some models want as many in every row, and answer from
    where the last one is."""
    import numpy as np

    row = {name: array[0] for name, array in sample.items()}
    tokens = row.get("input_ids", next(iter(row.values())))
    ends, others = np.flatnonzero(tokens == tokens[-1]), np.flatnonzero(tokens != tokens[-1])
    kept = np.sort(np.append(ends[::-1], others)[:length])
    if len(tokens) < length:
        repeated = np.resize(others[1:] if len(others) > 1 else kept, length - len(tokens))
        kept = np.concatenate([kept[:-1], repeated, kept[-1:]])
    return {name: one[kept] for name, one in row.items()}


def stacked(samples: Sequence[Arrays], rows: int, second: bool) -> dict[str, numpy.ndarray]:
    """Pictures or sounds: cut to one size, that of the smaller samples if it is the ``second`` batch. What is shared
    has another number of rows then."""
    import numpy as np

    by_size = sorted(samples, key=lambda sample: sum(array.size for array in sample.values()))
    half = by_size[: max(1, len(by_size) // 2)] if second else by_size[len(by_size) // 2 :]
    chosen = [half[row * len(half) // rows] for row in range(rows)]
    made = {}
    for name, first in chosen[0].items():
        if not first.ndim:  # a scalar has no rows
            made[name] = first
            continue
        if is_shared(first):
            made[name] = np.concatenate([first, first[:1]]) if second else first.copy()
            continue
        size = tuple(min(sides) for sides in zip(*(sample[name].shape[1:] for sample in chosen), strict=True))
        cut = tuple(slice(side) for side in size)
        made[name] = np.concatenate([sample[name][(slice(None), *cut)] for sample in chosen])
        if "mask" in name and made[name].all():  # as if the first row were shorter
            made[name][0, ..., -max(1, made[name].shape[-1] // 4) :] = 0
    return made


def without_padding(output: numpy.ndarray, inputs: Arrays) -> numpy.ndarray:
    """An output with a vector a moment, with zeros where the inputs' mask says padding: what stands there means
    nothing, and where all is masked runtimes differ (a softmax of nothing). Moments may be fewer than the mask's."""
    import numpy as np

    mask = next((array for name, array in inputs.items() if "mask" in name and array.ndim == 2), None)
    if output.ndim < 3 or mask is None or len(mask) != len(output):
        return output
    real = (mask.mean(axis=1) * output.shape[1]).astype(int)
    kept = np.arange(output.shape[1]) < real[:, None]
    return np.where(kept.reshape(*kept.shape, *[1] * (output.ndim - 2)), output, 0)


def is_shared(array: numpy.ndarray) -> bool:
    """Whether a sample's array belongs to all rows of a batch: it has more rows than the sample's one."""
    return array.ndim > 0 and len(array) > 1


def free_axes(samples: Sequence[Arrays], traced: Mapping[str, Any]) -> dict[str, Any] | None:
    """The axes that vary, for torch.export: the batch, those in which the samples differ, and both axes of shared
    texts. None for texts alone, whose axes the exporter finds by itself; naming them keeps Swin from taking minutes."""
    if all(is_text(array) for array in samples[0].values()):
        return None
    from torch.export import Dim

    free: dict[str, Any] = {}
    for name in traced:
        shapes = [sample[name].shape for sample in samples]
        vary = [axis for axis in range(1, len(shapes[0])) if len({shape[axis] for shape in shapes}) > 1]
        free[name] = dict.fromkeys((0, *vary), Dim.DYNAMIC)
        if is_shared(samples[0][name]):
            free[name] = {0: Dim.DYNAMIC, 1: Dim.AUTO}
    return free


def exact_zeros() -> None:
    """ONNX exports leave out additions of zero alone: onnxscript's rules take whatever is below 1e-8 for zero, such as
    the epsilon that keeps the norm of a row of zeros from dividing by zero."""
    from onnxscript.rewriter.rules.common import _no_op

    for rule in _no_op.rules.rules:
        for node in rule._target_pattern:
            for given in node.inputs:
                if hasattr(given, "_abs_tol"):
                    given._abs_tol = 0.0
