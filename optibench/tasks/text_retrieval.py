"""Retrieval by embeddings: every document of the data is ranked for every query by cosine; nDCG@10 and recall@10.

A row judges a document for a query. The corpus is all the documents that the rows name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from optibench.embedders import DOCUMENT, QUERY, cut_as_it_is_used, prompt_of
from optibench.errors import OptibenchError
from optibench.spool import Picked, Spool, numbered
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
    queries: Numbered = Numbered()
    documents: Numbered = Numbered()
    relevance: list[dict[int, float]] = []
    for number, row in numbered(rows):
        query, document = queries.number_of(str(row["query"])), documents.number_of(str(row["document"]))
        if query == len(relevance):
            relevance.append({})
        relevance[query][document] = ranking.relevance_of(row, number)
    judged = [query for query, found in enumerate(relevance) if any(found.values())]
    if not judged:
        raise OptibenchError("No row has a relevance above 0, so no document is right for any query.")
    truths = {
        "documents": len(documents.texts),
        "relevance": [[[document, value] for document, value in relevance[query].items()] for query in judged],
    }
    prompts, cut = (prompt_of(model, *QUERY), prompt_of(model, *DOCUMENT)), cut_as_it_is_used(model)
    texts = chain(
        (prompts[0] + text for text in Picked(queries.texts, judged)), (prompts[1] + text for text in documents.texts)
    )
    return Encoded(
        inputs=(tokenized(tokenizer, text, None, cut) for text in texts),
        labels=[float(sum(value > 0 for value in relevance[query].values())) for query in judged],
        truths=truths,
    )


class Numbered:
    """Distinct texts in the order that they come in. They are kept on disk; in memory is a digest of each."""

    def __init__(self) -> None:
        self.texts: Spool[str] = Spool()
        self._numbers: dict[bytes, int] = {}

    def number_of(self, text: str) -> int:
        """The text's number; a new one for a new text."""
        digest = hashlib.sha256(text.encode()).digest()[:16]
        number = self._numbers.setdefault(digest, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


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
