"""What a task is: a module with constants and functions, typed by the Protocol below.

``encode`` runs where transformers is imported; ``answers`` runs in the slim worker, on numpy alone;
``predictions`` and ``METRICS`` run in the parent. Tasks are registered under the entry point ``optibench.tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

    Arrays = Mapping[str, numpy.ndarray]
    Metric = Callable[[numpy.ndarray, numpy.ndarray], numpy.ndarray]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Encoded rows: one dict of integer arrays an input (1-D, or 0-D for names that begin with ``_``, which only
    ``answers`` reads), and one label an example (none where the rows have no labels)."""

    inputs: list[dict[str, numpy.ndarray]]
    labels: list[float]


class Task(Protocol):
    """The contract of a task module."""

    AUTO_CLASS: str
    """The transformers class that loads its models (``AutoModelForSequenceClassification``)."""
    COLUMNS: dict[str, tuple[str, ...]]
    """Role -> the column names it usually goes by, the likeliest first. A role ending in ``?`` may be absent."""
    METRICS: dict[str, Metric]
    """Metric name -> function of predictions and labels, both of shape (resamples, examples), giving one value a
    resample. The first decides about the accuracy floor; higher is better."""
    HAS_TOP1: bool
    """Whether the largest entry of an answer is the model's choice, so that parity can count equal choices."""

    def encode(self, rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
        """Rows by role, made into model inputs and labels. Raises OptibenchError for labels the model lacks."""
        ...

    def answers(self, outputs: Arrays, inputs: Arrays, model: Model) -> numpy.ndarray:
        """From a batch's outputs to one vector an input: shape (batch, size), float32."""
        ...

    def predictions(self, answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
        """From all answers, in the order of the inputs, to one number an example."""
        ...


def tokenized(tokenizer: Any, text: str, pair: str | None, model: Model) -> dict[str, numpy.ndarray]:
    """One text (or pair) as the tokenizer's arrays, cut at the model's positions (512 where none are known)."""
    import numpy as np

    encoded = tokenizer(text, pair, truncation=True, max_length=min(model.max_length or 512, 512))
    return {name: np.asarray(values, np.int64) for name, values in encoded.items()}


def first_output(outputs: Arrays, *names: str) -> numpy.ndarray:
    """The output of one of these names, else the first there is (a stranger's graph names them as it likes)."""
    return next((outputs[name] for name in names if name in outputs), next(iter(outputs.values())))
