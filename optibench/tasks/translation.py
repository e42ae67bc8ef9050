"""Translation by a model with an encoder (Marian, T5, mBART, NLLB): BLEU and chrF over all texts, by sacrebleu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks import rewriting, written
from optibench.tasks.base import Encoded

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

GENERATIVE = True
AUTO_CLASS = "AutoModelForSeq2SeqLM"
COLUMNS = {
    "source": ("source", "src", "source_text", "text", "input"),
    "target?": ("target", "tgt", "translation", "reference", "target_text", "ref"),
}
HAS_TOP1 = False
ORDERS = 4
"""Runs of words that BLEU counts: up to so many."""


def row_of(text: str) -> dict[str, Any]:
    """A plain text, to be translated."""
    return {"source": text}


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a row."""
    return rewriting.encoded(rows, tokenizer, model, "source", "target")


run = written.run


def answers(outputs: Mapping[str, Any], inputs: Mapping[str, numpy.ndarray], model: Model) -> list[numpy.ndarray]:
    """The tokens that were generated."""
    return written.tokens_of(outputs)


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """What each text adds to the counts of BLEU and chrF. Both are ratios of sums over all texts, so that a paired
    bootstrap over texts needs these numbers alone."""
    import numpy as np

    bleu, chrf = _metrics()
    mine = written.texts_of(answers, labels["spelt"])
    right = [labels["texts"]]
    counts = [bleu._extract_corpus_statistics(mine, right), chrf._extract_corpus_statistics(mine, right)]
    return np.concatenate([np.asarray(one, float) for one in counts], axis=1)


def _metrics() -> tuple[Any, Any]:
    """sacrebleu's own BLEU (13a) and chrF, as WMT compares systems by."""
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise OptibenchError("BLEU and chrF need the package sacrebleu: pip install 'optibench[tasks]'") from error
    return BLEU(), CHRF()


def bleu(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """BLEU of all texts, as a share of 1 (Papineni and others, 2002; sacrebleu's signature nrefs:1|case:mixed|eff:no|
    tok:13a|smooth:exp)."""
    return _of_sums(_metrics()[0], predictions[..., : 2 + 2 * ORDERS])


def chrf(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """chrF2 of all texts, as a share of 1 (Popović, 2015)."""
    return _of_sums(_metrics()[1], predictions[..., 2 + 2 * ORDERS :])


def _of_sums(metric: Any, counts: numpy.ndarray) -> numpy.ndarray:
    import numpy as np

    sums = counts.sum(axis=1)
    return np.array([metric._compute_score_from_stats(one.tolist()).score / 100 for one in sums])


METRICS = {"bleu": bleu, "chrf": chrf}
