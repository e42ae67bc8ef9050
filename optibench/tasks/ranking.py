"""Metrics of ranked lists, a query at a time: scikit-learn's nDCG, recall and reciprocal rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError

if TYPE_CHECKING:
    import numpy

    from optibench.tasks.base import Metric

DEPTH = 10


def row_of(text: str) -> dict[str, Any]:
    """A plain text as document, and its first words as the query."""
    return {"query": " ".join(text.split()[:6]), "document": text}


def relevance_of(row: Mapping[str, Any], number: int) -> float:
    """How relevant a row's document is to its query: a number of at least 0 (1 where the row says nothing)."""
    try:
        value = float(row.get("label", 1.0))
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < float("inf"):
        raise OptibenchError(
            f"Row {number} has the label {str(row['label'])[:80]!r}; a relevance is a number of at least 0. "
            "Say which column holds it with --columns label=NAME."
        )
    return value


def of_query(relevance: Sequence[float], scores: Sequence[float]) -> tuple[float, float, float]:
    """nDCG@10, recall@10 and reciprocal rank (0 beyond 10) of one query's documents; ties count against the model."""
    import numpy as np

    truth, mine = np.asarray(relevance, float), np.asarray(scores, float)
    relevant = truth > 0
    if not relevant.any():
        return 0.0, 0.0, 0.0
    order = np.lexsort((relevant, -mine))  # among equal scores the irrelevant first
    top = order[:DEPTH]
    ranks = np.flatnonzero(relevant[top])
    return (
        _ndcg(truth, order),
        float(relevant[top].sum() / relevant.sum()),
        1.0 / (1 + ranks[0]) if len(ranks) else 0.0,
    )


def _ndcg(truth: numpy.ndarray, order: numpy.ndarray) -> float:
    import numpy as np

    if len(truth) == 1:
        return 1.0  # scikit-learn refuses a list of one
    try:
        from sklearn.metrics import ndcg_score
    except ImportError as error:
        raise OptibenchError("nDCG needs the package scikit-learn: pip install 'optibench[tasks]'") from error
    places = np.empty(len(order))
    places[order] = np.arange(len(order), 0, -1)
    return float(ndcg_score([truth], [places], k=DEPTH))


def column(number: int) -> Metric:
    """The metric that is the mean of one of the numbers that each example has."""

    def mean(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
        result: numpy.ndarray = predictions[..., number].mean(axis=1)
        return result

    return mean


METRICS = {f"ndcg@{DEPTH}": column(0), f"recall@{DEPTH}": column(1), f"mrr@{DEPTH}": column(2)}
