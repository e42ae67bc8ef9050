"""A finished graph (.onnx, .xml) of a purpose not known: latency and parity on inputs made from its signature.

It has no data set and no metric. ``--task`` says what the graph is for, if its tokenizer lies beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks.base import Encoded

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = ""
COLUMNS: dict[str, tuple[str, ...]] = {}
METRICS: dict[str, Any] = {}
HAS_TOP1 = False


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """There is nothing to encode rows into."""
    raise OptibenchError(
        "What this graph is for is not known, so a data set cannot judge it. Give --task, and put the model's "
        "tokenizer.json beside the graph."
    )


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """Every floating-point output, flattened and joined, a row an input (a lone row if the outputs have no rows). Of a
    graph that gives whole numbers alone (the class itself, places), these."""
    import numpy as np

    rows = rows_of(inputs)
    floating = [o for o in outputs.values() if o.dtype.kind == "f"]
    parts = [np.asarray(o, np.float32) for o in floating or [o for o in outputs.values() if o.dtype.kind in "iub"]]
    flat = [o.reshape(rows, -1) if o.ndim and o.shape[0] == rows else o.reshape(1, -1) for o in parts]
    flat = [np.broadcast_to(o, (rows, o.shape[1])) for o in flat]
    return np.concatenate(flat, axis=1) if flat else np.zeros((rows, 0), np.float32)


def rows_of(inputs: Mapping[str, numpy.ndarray]) -> int:
    """How many rows a batch has: the first axis of the first input that has one (all may be scalars)."""
    return next((len(array) for array in inputs.values() if array.ndim), 1)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """No data set, no predictions."""
    return answers[:0, 0]
