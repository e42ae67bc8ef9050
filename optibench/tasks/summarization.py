"""Summarization by a model with an encoder (BART, T5, Pegasus): ROUGE-1, -2 and -L, by rouge-score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks import rewriting, written
from optibench.tasks.base import Encoded

if TYPE_CHECKING:
    import numpy

    from optibench.tasks.base import Metric
    from optibench.values import Model

GENERATIVE = True
AUTO_CLASS = "AutoModelForSeq2SeqLM"
COLUMNS = {
    "document": ("document", "article", "text", "dialogue", "source", "content"),
    "summary?": ("summary", "highlights", "abstract", "target", "headline"),
}
HAS_TOP1 = False
ROUGE = ("rouge1", "rouge2", "rougeL")


def row_of(text: str) -> dict[str, Any]:
    """A plain text, to be summed up."""
    return {"document": text}


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a row, cut at the model's positions."""
    return rewriting.encoded(rows, tokenizer, model, "document", "summary")


run = written.run


def answers(outputs: Mapping[str, Any], inputs: Mapping[str, numpy.ndarray], model: Model) -> list[numpy.ndarray]:
    """The tokens that were generated."""
    return written.tokens_of(outputs)


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """F1 of each text by each kind of ROUGE, words stemmed by Porter, as is usual of English."""
    import numpy as np

    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise OptibenchError("ROUGE needs the package rouge-score: pip install 'optibench[tasks]'") from error
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    mine = written.texts_of(answers, labels["spelt"])
    found = [scorer.score(right, text) for right, text in zip(labels["texts"], mine, strict=True)]
    return np.array([[one[kind].fmeasure for kind in ROUGE] for one in found], float)


def _mean_of(column: int) -> Metric:
    def mean(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
        """Mean F1 over all texts."""
        result: numpy.ndarray = predictions[..., column].mean(axis=1)
        return result

    return mean


METRICS = {kind: _mean_of(column) for column, kind in enumerate(ROUGE)}
