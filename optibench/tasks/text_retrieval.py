"""Retrieval by embeddings: every document of the data is ranked for every query by cosine; nDCG@10 and recall@10.

A row judges a document for a query. The corpus is all the documents that the rows name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks import ranking
from optibench.tasks.base import Encoded, tokenized
from optibench.tasks.sentence_similarity import answers

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

__all__ = ["AUTO_CLASS", "COLUMNS", "GROUP", "HAS_TOP1", "METRICS", "answers", "encode", "predictions", "row_of"]

AUTO_CLASS = "AutoModel"
COLUMNS = {
    "query": ("query", "question", "title", "anchor"),
    "document": ("document", "passage", "text", "positive", "answer", "doc"),
    "label?": ("label", "relevance", "score", "rel"),
}
GROUP = "query"
METRICS = ranking.METRICS
row_of = ranking.row_of
HAS_TOP1 = False


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """Each distinct query and document once. A row without a relevance says that its document is relevant."""
    queries: dict[str, dict[str, float]] = {}
    documents: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        document = str(row["document"])
        documents.setdefault(document, len(documents))
        queries.setdefault(str(row["query"]), {})[document] = ranking.relevance_of(row, number)
    judged = {query: found for query, found in queries.items() if any(found.values())}
    if not judged:
        raise OptibenchError("No row has a relevance above 0, so no document is right for any query.")
    truths = {
        "documents": len(documents),
        "relevance": [[[documents[document], value] for document, value in found.items()] for found in judged.values()],
    }
    return Encoded(
        inputs=(tokenized(tokenizer, text, None, model) for text in (*judged, *documents)),
        labels=[float(sum(value > 0 for value in found.values())) for found in judged.values()],
        truths=truths,
    )


def predictions(answers: numpy.ndarray, labels: Mapping[str, Any]) -> numpy.ndarray:
    """nDCG@10, recall@10 and reciprocal rank of each query."""
    import numpy as np

    unit = answers / np.maximum(np.linalg.norm(answers, axis=1, keepdims=True), 1e-12)
    queries, documents = unit[: -labels["documents"]], unit[-labels["documents"] :]
    found = []
    for query, relevance in zip(queries, labels["relevance"], strict=True):
        truth = np.zeros(len(documents))
        truth[[place for place, _ in relevance]] = [value for _, value in relevance]
        found.append(ranking.of_query(truth.tolist(), (documents @ query).tolist()))
    return np.array(found, float).reshape(-1, 3)
