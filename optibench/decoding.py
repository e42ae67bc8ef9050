"""What a decoder takes besides its cache, call by call: tokens, mask, positions, and which logits are wanted.

The same arrays for every runtime, by the names that transformers' models have for them; a graph takes those of them
that it declares. Numpy alone: slim workers import this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

    Arrays = dict[str, numpy.ndarray]

NO_CACHE = "this architecture keeps no cache of keys and values (past_key_values), which text generation is timed with"
WANTED = "logits_to_keep"
"""The places whose logits are computed: a whole vocabulary at each token of a prompt would cost more than the rest of a
small model, and a server computes the last alone."""


@dataclass(frozen=True)
class Prompts:
    """Rows of tokens, shape (rows, length), int64. ``mask`` is 0 where a row is only filled up: on the left, so that
    all rows end with the token that is gone on from (or on the right, where they are just judged)."""

    ids: numpy.ndarray
    mask: numpy.ndarray

    def inputs(self, every: bool = False) -> Arrays:
        """The first call's arrays. ``every``: the logits after each token are wanted, else after the last alone."""
        import numpy as np

        length = self.ids.shape[1]
        return {
            "input_ids": self.ids,
            "attention_mask": self.mask,
            "position_ids": np.maximum(self.mask.cumsum(axis=1) - 1, 0),
            "cache_position": np.arange(length),
            WANTED: np.arange(length) if every else np.array([length - 1]),
        }


def prompts_from(inputs: Mapping[str, numpy.ndarray]) -> Prompts:
    """What a tokenizer made of the rows."""
    import numpy as np

    ids = np.ascontiguousarray(inputs["input_ids"], np.int64)
    mask = inputs.get("attention_mask")
    return Prompts(ids, np.ones_like(ids) if mask is None else np.ascontiguousarray(mask, np.int64))


class Place:
    """Where the rows of a generation are: what the call of the next tokens takes."""

    def __init__(self, prompts: Prompts) -> None:
        self.mask = prompts.mask
        self.positions = prompts.mask.sum(axis=1)

    @property
    def rows(self) -> int:
        return len(self.mask)

    @property
    def length(self) -> int:
        length: int = self.mask.shape[1]
        return length

    def following(self, tokens: numpy.ndarray) -> Arrays:
        """The arrays of the call that appends ``tokens``, shape (rows,)."""
        import numpy as np

        length = self.length
        self.mask = np.concatenate([self.mask, np.ones((self.rows, 1), np.int64)], axis=1)
        self.positions, now = self.positions + 1, self.positions
        return {
            "input_ids": tokens[:, None],
            "attention_mask": self.mask,
            "position_ids": now[:, None],
            "cache_position": np.array([length]),
            WANTED: np.zeros(1, np.int64),
        }
