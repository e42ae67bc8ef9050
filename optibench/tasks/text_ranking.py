"""Text ranking by cross-encoders: a query and a document in, how relevant it is out; nDCG@10 over each query's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.spool import numbered
from optibench.tasks import ranking
from optibench.tasks.base import Encoded, tokenized
from optibench.tasks.text_classification import answers

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

__all__ = ["AUTO_CLASS", "COLUMNS", "GROUP", "HAS_TOP1", "METRICS", "answers", "encode", "predictions", "row_of"]

AUTO_CLASS = "AutoModelForSequenceClassification"
COLUMNS = {
    "query": ("query", "question", "text", "sentence1"),
    "document": ("document", "passage", "text_pair", "answer", "sentence2", "doc"),
    "label?": ("label", "relevance", "score", "rel"),
}
GROUP = "query"
METRICS = ranking.METRICS
row_of = ranking.row_of
HAS_TOP1 = False


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a row; an example is a query with its rows. Error: nothing is relevant, so no order is right."""
    inputs = (tokenized(tokenizer, str(row["query"]), str(row["document"]), model) for row in rows)
    if not any("label" in row for row in rows):
        return Encoded(inputs=inputs, labels=[])
    queries: dict[str, dict[str, list[float]]] = {}
    for place, (number, row) in enumerate(numbered(rows)):
        query = queries.setdefault(str(row["query"]), {"rows": [], "relevance": []})
        query["rows"].append(place)
        query["relevance"].append(ranking.relevance_of(row, number))
    judged = [query for query in queries.values() if any(query["relevance"])]
    if not judged:
        raise OptibenchError("No row has a relevance above 0, so no order of the documents is better than another.")
    return Encoded(inputs=inputs, labels=[float(sum(r > 0 for r in q["relevance"])) for q in judged], truths=judged)


def predictions(answers: numpy.ndarray, labels: Sequence[Mapping[str, Any]]) -> numpy.ndarray:
    """nDCG@10, recall@10 and reciprocal rank of each query. Of two logits, the second says relevant, as in every
    classifier that was trained on 0 and 1."""
    import numpy as np

    return np.array([ranking.of_query(q["relevance"], answers[q["rows"], -1].tolist()) for q in labels], float)
