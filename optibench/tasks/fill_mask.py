"""Masked words on real text: one whole word a text is hidden, and the model's rank of the true one counts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.stats import rank_at_most
from optibench.tasks.base import Encoded, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModelForMaskedLM"
COLUMNS = {"text": ("text", "sentence", "content", "review", "body")}
METRICS = {"top1": rank_at_most(1), "top5": rank_at_most(5)}
HAS_TOP1 = True
INPUTS_AN_EXAMPLE = 1
LONGEST = 256
"""Texts are cut here: a word's neighbours decide, and a whole vocabulary of logits a token is large."""


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """Each text with one whole word masked, drawn by ``seed``; texts without a word that is one token are left out."""
    if tokenizer.mask_token_id is None:
        raise OptibenchError(
            "This model's tokenizer has no mask token, so it cannot fill masks. Choose another --task."
        )
    if not tokenizer.is_fast:
        raise OptibenchError(
            "This model's tokenizer does not tell which tokens are one word, so no whole word can be masked. "
            "Choose another --task, or put a tokenizer.json beside the model."
        )
    labels: list[float] = []
    return Encoded(
        inputs=_masked(rows, tokenizer, min(model.max_length or LONGEST, LONGEST), seed, labels), labels=labels
    )


def _masked(
    rows: Iterable[Mapping[str, Any]], tokenizer: Any, most: int, seed: int, labels: list[float]
) -> Iterator[dict[str, numpy.ndarray]]:
    """The texts' inputs; the tokens that were masked go to ``labels``."""
    import numpy as np

    rng = random.Random(seed)  # noqa: S311 (a choice of words, no secret)
    for row in rows:
        encoded = tokenizer(str(row["text"]), truncation=True, max_length=most)
        words = encoded.word_ids()
        text = [tokenizer.decode([token]).strip() for token in encoded["input_ids"]]
        choices = [
            i for i, word in enumerate(words) if word is not None and words.count(word) == 1 and _is_word(text[i])
        ]
        if not choices:
            continue
        position = rng.choice(choices)
        arrays = {name: np.asarray(values, np.int64) for name, values in encoded.items()}
        labels.append(float(arrays["input_ids"][position]))
        arrays["input_ids"][position] = tokenizer.mask_token_id
        arrays["_position"] = np.asarray(position, np.int64)
        yield arrays


def _is_word(text: str) -> bool:
    """Of three letters or more; in scripts without capitals a single character may be a word (Chinese)."""
    return text.isalpha() and (len(text) >= 3 or text.lower() == text.upper())


def answers(outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model) -> numpy.ndarray:
    """The vocabulary's logits at the masked position."""
    import numpy as np

    logits = first_output(outputs, "logits")
    if "_position" not in inputs:  # texts without a mask (parity on plain text): the last token's logits
        return np.asarray(logits[:, -1], np.float32)
    return np.asarray(logits[np.arange(len(logits)), inputs["_position"]], np.float32)


def predictions(answers: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """Rank of the true word, 0 is first; ties count against the model."""
    import numpy as np

    truth = np.take_along_axis(answers, labels.astype(np.int64)[:, None], axis=1)
    result: numpy.ndarray = (answers >= truth).sum(axis=1).astype(float) - 1.0
    return result
