"""Sessions for devices that compile a graph for one shape: inputs are padded to few shapes, and outputs cut back.

What is timed has the shape that was asked for, and no padding. Rows that judge come in many shapes: their numbers of
rows and of tokens are rounded up to powers of two, so that a data set needs a handful of compilations. Tokens are
padded only where the model takes an attention mask, which rules the padding out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import plugins
from optibench.tasks.base import is_generative
from optibench.values import Executed, Job, Model, Target

if TYPE_CHECKING:
    import numpy

    from optibench.backends.base import Session

    Arrays = Mapping[str, numpy.ndarray]
    Sizes = tuple[int, int]

OPTION = "static_shapes"
"""The key of a target's ``[options.BACKEND]`` that asks for this."""
SHORTEST = 16
"""Tokens are rounded up to at least this many."""


def asked_for(target: Target, backend: str, model: Model) -> bool:
    """Whether that backend's builds of the model run in fixed shapes on that target. A cache of tokens grows."""
    generates = is_generative(plugins.load("task", model.ref.task), model.config)
    return not generates and bool(target.options.get(backend, {}).get(OPTION))


@dataclass(frozen=True)
class Feed:
    """Padded inputs in the session of their shape. ``real`` and ``padded``: rows and tokens."""

    session: Session
    inputs: Any
    real: Sizes
    padded: Sizes


class StaticShapes:
    """Opens a session a shape, as inputs of that shape come.

    ``opened``: from input shapes by name to a session; ``names``: the inputs that the graph takes; ``free``: the axes
    of each output that follow the inputs' rows and tokens; ``job``: whose shapes are run as they are.
    """

    def __init__(
        self,
        opened: Callable[[dict[str, tuple[int, ...]]], Session],
        names: Collection[str],
        free: Mapping[str, Collection[int]],
        job: Job,
    ) -> None:
        self.opened, self.names, self.free = opened, set(names), free
        self.exact = {(shape.batch, shape.length) for shape in job.shapes}
        self.most = job.model.max_length
        self.sessions: dict[tuple[tuple[str, tuple[int, ...]], ...], Session] = {}

    def feed(self, inputs: Arrays) -> Feed:
        """The inputs in the shape that they are run in; compiles for it if it is new."""
        taken = {name: array for name, array in inputs.items() if name in self.names}
        real = sizes_of(taken)
        padded = real if real in self.exact else rounded_up(real, self.most, "attention_mask" in taken)
        arrays = {name: fitted(array, real, padded) for name, array in taken.items()}
        key = tuple(sorted((name, array.shape) for name, array in arrays.items()))
        session = self.sessions.get(key)
        if session is None:
            session = self.sessions[key] = self.opened(dict(key))
        return Feed(session, session.feed(arrays), real, padded)

    def call(self, feed: Feed) -> tuple[Feed, Any]:
        """One inference."""
        return feed, feed.session.call(feed.inputs)

    def arrays(self, outputs: tuple[Feed, Any]) -> dict[str, numpy.ndarray]:
        """The outputs without what the padding gave."""
        feed, found = outputs
        made = feed.session.arrays(found)
        return {name: cut(array, feed.real, feed.padded, self.free.get(name, ())) for name, array in made.items()}

    def executed(self, feed: Feed) -> Executed:
        """What the session of this shape runs, and for how many shapes there is one."""
        found = feed.session.executed(feed.inputs)
        return msgspec.structs.replace(found, detail={**found.detail, OPTION: len(self.sessions)})


def sizes_of(inputs: Arrays) -> Sizes:
    """Rows, and tokens (0 where the inputs are no text)."""
    rows = max(len(array) for array in inputs.values())
    texts = [array.shape[1] for array in inputs.values() if is_tokens(array)]
    return rows, max(texts, default=0)


def is_tokens(array: numpy.ndarray) -> bool:
    """Ids, masks and the like: integers, a row a text."""
    return array.ndim == 2 and array.dtype.kind in "iub"


def rounded_up(real: Sizes, most: int | None, masked: bool) -> Sizes:
    """The sizes that inputs are padded to: powers of two, tokens within the model's positions. ``masked``: padding of
    tokens is ruled out by a mask; without one their number stays."""
    rows, tokens = real
    rows = 1 << (rows - 1).bit_length()
    if tokens and masked:
        wider = max(SHORTEST, 1 << (tokens - 1).bit_length())
        tokens = max(tokens, min(wider, most or wider))
    return rows, tokens


def fitted(array: numpy.ndarray, real: Sizes, padded: Sizes) -> numpy.ndarray:
    """An input with more rows (its last one again) and, of tokens, zeros at the end. What all rows share stays."""
    import numpy as np

    if len(array) != real[0]:
        return array
    wider = [(0, padded[0] - real[0]), *((0, 0) for _ in array.shape[1:])]
    array = np.pad(array, wider, mode="edge")
    if is_tokens(array) and array.shape[1] == real[1]:
        array = np.pad(array, [(0, 0), (0, padded[1] - real[1])])
    return array


def cut(array: numpy.ndarray, real: Sizes, padded: Sizes, free: Collection[int]) -> numpy.ndarray:
    """An output's rows and tokens that inputs were given for: along those of its axes that are ``free``."""
    keep = [slice(None)] * array.ndim
    for axis in free:
        if axis == 0 and array.shape[0] == padded[0]:
            keep[0] = slice(real[0])
        elif axis > 0 and real[1] and array.shape[axis] == padded[1]:
            keep[axis] = slice(real[1])
    return array[tuple(keep)]
