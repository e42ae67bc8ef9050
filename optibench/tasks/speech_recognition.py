"""Speech recognition by CTC (Wav2Vec2, HuBERT) or by an encoder and a decoder that writes (Whisper, Moonshine): greedy
decoding, and one minus the word error rate, by jiwer.

Word accuracy is counted without case and punctuation, which many such models do not write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from optibench import generation_rules
from optibench.errors import OptibenchError
from optibench.tasks import sounds, written
from optibench.tasks.base import Encoded, Pair, first_output

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

INPUT = "sound+text"
AUTO_CLASS = "AutoModelForCTC"
COLUMNS = {"audio": sounds.AUDIO, "transcript?": ("transcript", "text", "sentence", "transcription", "normalized_text")}
HAS_TOP1 = True
GENERATIVE = "encoder-decoder"


def auto_class(model: Model) -> str:
    """By whether the model has a decoder of its own."""
    return "AutoModelForSpeechSeq2Seq" if model.config.get("is_encoder_decoder") else AUTO_CLASS


def encode(rows: Sequence[Mapping[str, Any]], processor: Pair, model: Model, seed: int) -> Encoded:
    """One input a row (a window, where the model hears one), and what was said as words."""
    texts = [words_of(str(row["transcript"])) for row in rows if "transcript" in row]
    if model.config.get("is_encoder_decoder"):
        windows: list[int] = []
        return Encoded(
            inputs=sounds.encoded(rows, processor.media, windows),
            labels=[float(len(words)) for words in texts],
            truths={"spelt": written.speller(processor.tokenizer), "windows": windows, "texts": texts},
            shared=generation_rules.arrays_of(generation_rules.rules_of(model)),
        )
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


def run(session: Any, batch: Mapping[str, numpy.ndarray], model: Model) -> Mapping[str, Any]:
    """The tokens that are written, or the outputs of one call."""
    if generation_rules.RULES in batch:
        return written.run(session, batch, model)
    found: Mapping[str, Any] = session.arrays(session.call(session.feed(batch)))
    return found


def answers(outputs: Mapping[str, Any], inputs: Mapping[str, numpy.ndarray], model: Model) -> list[numpy.ndarray]:
    """The tokens that were written, or the vocabulary's logits at each moment."""
    import numpy as np

    if written.TOKENS in outputs:
        return written.tokens_of(outputs)
    return list(np.asarray(first_output(outputs, "logits"), np.float32))


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """Words that must be put right (replaced, added or taken out) in each text."""
    import numpy as np

    found = [
        _errors(right, words_of(text)) for right, text in zip(labels["texts"], _texts(answers, labels), strict=True)
    ]
    return np.array(found, float)


def _texts(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> list[str]:
    """What was written of each sound."""
    if "pieces" in labels:
        moments = ([token for token, _ in groupby(logits.argmax(axis=1).tolist())] for logits in answers)
        return ["".join(labels["pieces"][token] for token in tokens) for tokens in moments]
    parts = iter(written.texts_of(answers, labels["spelt"]))
    return [" ".join(islice(parts, count)) for count in labels["windows"]]


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
