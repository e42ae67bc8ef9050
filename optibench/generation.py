"""Generating text with a session that keeps what it has seen: greedy decoding, and the two kinds of timed calls.

Numpy alone, since it runs in the slim process that is measured. docs/generation.md says what the figures mean.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from optibench.measure import Timed
from optibench.values import Shape

if TYPE_CHECKING:
    import numpy

    from optibench.backends.base import GenerativeSession


def greedy(logits: numpy.ndarray) -> numpy.ndarray:
    """The likeliest token of each row, int64, shape (batch,); of equal ones the first."""
    import numpy as np

    tokens: numpy.ndarray = logits.argmax(axis=-1).astype(np.int64)
    return tokens


def generate(
    session: GenerativeSession,
    inputs: Any,
    new_tokens: int,
    stop: Collection[int] = (),
    choose: Callable[[numpy.ndarray, Sequence[numpy.ndarray]], numpy.ndarray] = lambda logits, made: greedy(logits),
) -> list[numpy.ndarray]:
    """What greedy decoding makes of each row of ``inputs`` (as ``session.feed`` made them): at most ``new_tokens``
    tokens, int64, up to the first of ``stop``, which is left out. ``choose`` takes a token for each row by the logits
    and all tokens that were made before."""
    import numpy as np

    ends = np.array(sorted(stop), np.int64)
    tokens = choose(session.start(inputs), [])
    made = [tokens]
    ended = np.isin(tokens, ends)
    while len(made) < new_tokens and not ended.all():
        tokens = choose(session.step(tokens), made)
        made.append(tokens)
        ended |= np.isin(tokens, ends)
    rows = np.stack(made, axis=1)[:, :new_tokens]
    return [row[: int(np.isin(row, ends).argmax())] if np.isin(row, ends).any() else row for row in rows]


def timed(session: GenerativeSession, inputs: Any, shape: Shape) -> Timed:
    """What is timed at one of the two shapes of a generation; ``inputs`` as ``session.feed`` made them. Each call
    chooses its token, as a user's loop would; ends of texts are passed over, so that all builds make as many.

    A call gives the logits that it chose from.
    """
    if shape.phase == "prefill":

        def prefill() -> numpy.ndarray:
            logits = session.start(inputs)
            greedy(logits)
            return logits

        return Timed(prefill)
    tokens: numpy.ndarray

    def rewind() -> None:
        nonlocal tokens
        tokens = greedy(session.start(inputs))

    def decode() -> numpy.ndarray:
        nonlocal tokens
        logits = session.step(tokens)
        tokens = greedy(logits)
        return logits

    return Timed(decode, rewind, shape.new_tokens)
