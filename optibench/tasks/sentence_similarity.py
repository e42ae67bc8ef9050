"""Sentence similarity: two texts, the cosine of their embeddings, Spearman's correlation with people's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from optibench.embedders import cut_as_it_is_used, prompt_of
from optibench.errors import OptibenchError
from optibench.spool import numbered
from optibench.stats import spearman
from optibench.tasks.base import Encoded, first_output, tokenized

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModel"
COLUMNS = {
    "text": ("text", "sentence1", "text1", "sentence", "query", "word1", "s1"),
    "text_pair": ("text_pair", "sentence2", "text2", "other", "word2", "s2"),
    "label": ("label", "score", "similarity", "similarity_score", "gold", "stars"),
}
METRICS = {"spearman": spearman}
HAS_TOP1 = False
INPUTS_AN_EXAMPLE = 2


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """Two inputs a row, one after the other, and its score."""
    prompt, cut = prompt_of(model), cut_as_it_is_used(model)
    texts = (prompt + str(row[role]) for row in rows for role in ("text", "text_pair") if role in row)
    return Encoded(
        inputs=(tokenized(tokenizer, text, None, cut) for text in texts),
        labels=[_score(row["label"], number) for number, row in numbered(rows) if "label" in row],
    )


def _score(label: Any, number: int) -> float:
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = inf
    if not isfinite(value):
        raise OptibenchError(
            f"Row {number} has the label {label!r}; a similarity is a number. "
            "Say which column holds it with --columns label=NAME."
        )
    return value


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """Embeddings: the token vectors made one by the model's own pooling (mean over real tokens if it says none)."""
    import numpy as np

    for name in ("sentence_embedding", "sentence_embeddings", "text_embeds"):
        if name in outputs:
            return np.asarray(outputs[name], np.float32)
    tokens = np.asarray(first_output(outputs, "last_hidden_state", "token_embeddings"), np.float32)
    if tokens.ndim == 2:
        return tokens
    if tokens.ndim != 3:
        return tokens.reshape(len(tokens), -1)
    mask = inputs.get("attention_mask")
    mask = np.ones(tokens.shape[:2], np.float32) if mask is None else np.asarray(mask, np.float32)
    if model.pooling == "cls":
        return tokens[:, 0]
    if model.pooling == "last":
        places = np.arange(mask.shape[1]) * (mask > 0)
        return np.asarray(tokens[np.arange(len(tokens)), places.argmax(axis=1)], np.float32)
    if model.pooling == "max":
        return np.asarray(np.where(mask[..., None] > 0, tokens, -np.inf).max(axis=1), np.float32)
    total = (tokens * mask[..., None]).sum(axis=1)
    return np.asarray(total / np.maximum(mask.sum(axis=1, keepdims=True), 1), np.float32)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Cosine of each pair."""
    import numpy as np

    unit = answers / np.maximum(np.linalg.norm(answers, axis=1, keepdims=True), 1e-12)
    result: numpy.ndarray = (unit[0::2] * unit[1::2]).sum(axis=1)
    return result
