"""Feature extraction: token vectors pooled into one. With pairs and scores it is judged as sentence similarity;
with texts alone, its outputs are compared with the reference's (parity) and no accuracy is claimed."""

from __future__ import annotations

from optibench.tasks import sentence_similarity
from optibench.tasks.sentence_similarity import answers, encode, predictions

__all__ = ["AUTO_CLASS", "COLUMNS", "HAS_TOP1", "INPUTS_AN_EXAMPLE", "METRICS", "answers", "encode", "predictions"]

AUTO_CLASS = "AutoModel"
COLUMNS = {
    "text": sentence_similarity.COLUMNS["text"],
    "text_pair?": sentence_similarity.COLUMNS["text_pair"],
    "label?": sentence_similarity.COLUMNS["label"],
}
METRICS = sentence_similarity.METRICS
HAS_TOP1 = False
INPUTS_AN_EXAMPLE = sentence_similarity.INPUTS_AN_EXAMPLE
