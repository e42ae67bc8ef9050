"""Speech recognition by CTC (Wav2Vec2, HuBERT): greedy decoding, and one minus the word error rate, by jiwer.

Word accuracy is counted without case and punctuation, which most such models do not write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.tasks import sounds
from optibench.tasks.base import Encoded, Pair, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

INPUT = "sound+text"
AUTO_CLASS = "AutoModelForCTC"
COLUMNS = {"audio": sounds.AUDIO, "transcript?": ("transcript", "text", "sentence", "transcription", "normalized_text")}
HAS_TOP1 = True


def encode(rows: Sequence[Mapping[str, Any]], processor: Pair, model: Model, seed: int) -> Encoded:
    """One input a row; what was said becomes words."""
    texts = [words_of(str(row["transcript"])) for row in rows if "transcript" in row]
    return Encoded(
        inputs=sounds.encoded(rows, processor.media),
        labels=[float(len(words)) for words in texts],
        truths={"pieces": pieces_of(processor.tokenizer, model), "texts": texts},
    )


def pieces_of(tokenizer: Any, model: Model) -> list[str]:
    """What each token writes: its letters, a space between words, nothing for the blank and other special tokens."""
    silent = {*tokenizer.all_special_tokens, tokenizer.pad_token}
    space = getattr(tokenizer, "word_delimiter_token", None)
    size = model.config.get("vocab_size") or len(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(range(size)))
    written = ["" if token is None or (token in silent and token != space) else token for token in tokens]
    return [" " if token == space else token.replace("▁", " ") for token in written]


def words_of(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.sub(r"[^\w\s]|_", "", text.lower()).split()


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """The vocabulary's logits at each moment."""
    import numpy as np

    return list(np.asarray(first_output(outputs, "logits"), np.float32))


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """Words that must be put right (replaced, added or taken out) in each text."""
    import numpy as np

    found = []
    for logits, right in zip(answers, labels["texts"], strict=True):
        written = "".join(labels["pieces"][token] for token, _ in groupby(logits.argmax(axis=1).tolist()))
        found.append(_errors(right, words_of(written)))
    return np.array(found, float)


def _errors(right: Sequence[str], mine: Sequence[str]) -> float:
    if not right or not mine:
        return float(max(len(right), len(mine)))
    try:
        import jiwer
    except ImportError as error:
        raise OptibenchError("Word errors need the package jiwer: pip install 'optibench[tasks]'") from error
    found = jiwer.process_words(" ".join(right), " ".join(mine))
    return float(found.substitutions + found.deletions + found.insertions)


def word_accuracy(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """One minus the word error rate: below 0 where more words are wrong than were said."""
    import numpy as np

    result: numpy.ndarray = 1 - predictions.sum(axis=1) / np.maximum(labels.sum(axis=1), 1)
    return result


METRICS = {"word_accuracy": word_accuracy}
