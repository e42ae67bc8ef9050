"""The metrics of the lm-evaluation-harness by their names, as functions of the examples' own numbers: without the
harness, so that records are read where it is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

FORETOLD = "next_token"
"""The share of tokens that were the likeliest, as text-generation has it."""


class ByName(Mapping[str, Any]):
    """A metric for every name: which there are the data say. Its function is told by the name alone, so that records
    are read without the harness."""

    def __getitem__(self, name: str) -> Any:
        return _FUNCTIONS.get(name.partition(",")[0], mean)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


def mean(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Of the examples' own values."""
    result: numpy.ndarray = predictions.mean(axis=1)
    return result


def share(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Of tokens, over all examples."""
    result: numpy.ndarray = predictions[..., 0].sum(axis=1) / predictions[..., 1].sum(axis=1)
    return result


def perplexity(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """exp of the mean negative log probability of an example's answer."""
    import numpy as np

    result: numpy.ndarray = np.exp(-predictions.mean(axis=1))
    return result


def weighted_perplexity(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """exp of the negative log probability of a word, or a byte, over all examples."""
    import numpy as np

    result: numpy.ndarray = np.exp(-share(predictions, labels))
    return result


def bits_per_byte(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """What a byte costs in bits, over all examples."""
    import numpy as np

    result: numpy.ndarray = -share(predictions, labels) / np.log(2)
    return result


_FUNCTIONS = {
    FORETOLD: share,
    "perplexity": perplexity,
    "word_perplexity": weighted_perplexity,
    "byte_perplexity": weighted_perplexity,
    "bits_per_byte": bits_per_byte,
}
