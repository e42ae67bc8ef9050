"""What the tasks share whose answers are texts that a model wrote: its tokens become words again in the parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError

if TYPE_CHECKING:
    import numpy

    from optibench.backends.base import GenerativeSession
    from optibench.values import Model

TOKENS = "tokens"
"""What a worker calls the generated tokens: a list of arrays, one a row."""


def run(session: GenerativeSession, batch: Mapping[str, numpy.ndarray], model: Model) -> Mapping[str, Any]:
    """What the model writes for a batch, by the rules that it came with."""
    from optibench import generation, generation_rules

    rules = generation_rules.rules_in(batch)
    assert rules is not None, "rewriting.encoded gives every batch its rules"
    return {TOKENS: generation.generate(session, session.feed(batch), rules.most, rules.stop, rules.choose)}


def tokens_of(outputs: Mapping[str, Any]) -> list[numpy.ndarray]:
    """Generated tokens as answers: an array of shape (tokens, 1) for each row. float32 holds every token's number."""
    import numpy as np

    return [np.asarray(row, np.float32)[:, None] for row in outputs[TOKENS]]


def speller(tokenizer: Any) -> str:
    """All that turns tokens into text, as the JSON of a tokenizer that can do nothing else: the parent loads none of
    transformers' tokenizers, which bring torch with them."""
    from tokenizers import Tokenizer, decoders, models

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # in Python, on SentencePiece: Marian's, whose target may have a vocabulary of its own
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        vocabulary, decoder = {str(piece): number for number, piece in enumerate(pieces)}, decoders.Metaspace()
    else:
        vocabulary, decoder = tokenizer.get_vocab(), backend.decoder
    made = Tokenizer(models.WordLevel(vocabulary, unk_token=str(tokenizer.unk_token or next(iter(vocabulary)))))
    if decoder is not None:  # without one, a space stands between any two
        made.decoder = decoder
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    made.add_special_tokens([token for token in {*added, *tokenizer.all_special_tokens} if token in vocabulary])
    spelt: str = made.to_str()
    return spelt


def texts_of(answers: Sequence[numpy.ndarray], spelt: str) -> list[str]:
    """The text of each answer, without special tokens."""
    from tokenizers import Tokenizer

    made = Tokenizer.from_str(spelt)
    return [made.decode([int(token) for token in answer[:, 0]]).strip() for answer in answers]


def text_in(row: Mapping[str, Any], role: str, number: int) -> str:
    """The row's text of that role. Errors: it is none, or empty."""
    value = row[role]
    if not isinstance(value, str) or not value.strip():
        what = "an empty text" if isinstance(value, str) else f"a {type(value).__name__}"
        raise OptibenchError(f"Row {number} holds {what} as {role}, where a text is expected. Leave the row out.")
    return value
