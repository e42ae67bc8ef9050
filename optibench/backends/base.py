"""What a backend is: a module with constants and a few functions.

Building (``prepare``) may import torch and take minutes; measuring (``session``) runs in a slim process of its own
that imports only the backend's runtime and numpy. Nothing heavy may be imported at a backend module's top level:
``probe`` and ``recipe`` are called by commands that must feel instant.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from optibench import plugins
from optibench.tasks.base import is_generative
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

    Arrays = Mapping[str, numpy.ndarray]


class Session(Protocol):
    """An opened artifact, ready to answer."""

    def call(self, inputs: Any) -> Any:
        """One inference over what ``feed`` made; returns when the device has finished. This is what is timed."""
        ...

    def feed(self, inputs: Arrays) -> Any:
        """Numpy inputs by name, made into what ``call`` takes: the copies that a server would make once."""
        ...

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        """What ``call`` returned, as float32 or integer numpy arrays by name."""
        ...

    def executed(self, inputs: Any) -> Executed:
        """What the runtime really runs on what ``feed`` made. Asked after everything else is measured, so it may
        take its time and memory (open a second, profiled session, say)."""
        ...


class GenerativeSession(Session, Protocol):
    """An opened artifact that generates: it keeps what it has seen (the KV cache) from one call to the next. It is what
    ``session`` opens for a job that generates. ``call`` answers a whole text at once: the logits after each of its
    tokens, as "logits" of the shape (batch, length, vocabulary), and keeps nothing.
    """

    def start(self, inputs: Any) -> numpy.ndarray:
        """Forgets what was kept, and runs the prompts that ``feed`` made (of a model with an encoder: the encoder, and
        the decoder over its first tokens). The logits of each row's next token, float32, shape (batch, vocabulary);
        they need last no longer than until the next call. Rows shorter than the others are padded on the left."""
        ...

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        """Appends one token a row, int64 of the shape (batch,), and gives the logits as ``start`` does."""
        ...

    def cache_bytes(self) -> int:
        """What is kept now of all rows: bytes of keys and values, as the runtime holds them."""
        ...


class Writing(NamedTuple):
    """A backend's part of the lines that write text (generation_lines.py). ``opening`` opens the graphs in the folder
    ``here``, and where there is an encoder runs it on ``inputs`` and leaves ``known``: these and what it gave, by name.
    ``call``, in a loop, makes of ``given`` (arrays of one row by name, more than the graph may take) the array
    ``logits``, shape (1, tokens, vocabulary), and keeps what was seen for the next call."""

    imports: str
    opening: str
    call: str


class Gauge(Protocol):
    """Work that does nothing but reach one limit of the machine."""

    amount: int
    """What one call works through: operations (a multiply-add is two), or bytes read and written."""
    detail: dict[str, Any]
    """``how`` in words and whatever else bears on it, as plain JSON."""

    def call(self, feed: Any) -> Any:
        """Does it once; returns when the device has finished."""
        ...


class Backend(Protocol):
    """The contract of a backend module; tests/contract holds every backend to it."""

    FORMAT: str
    """Name of the artifact's format: onnx, openvino, transformers, ..."""
    PRECISIONS: tuple[str, ...]
    """The precisions that it can build and run."""
    EXTRA: str
    """The extra of optibench that installs what it needs ("" if the base does)."""
    RUNTIME: tuple[str, ...]
    """The distributions that run its artifacts: their versions belong to a figure."""
    GENERATES: tuple[str, ...]
    """Optional: it opens GenerativeSessions, and these are the precisions that are tried there by default."""
    AHEAD_OF_TIME: bool
    """Optional: it builds for the target on any machine, whatever is in it, so that ``optibench export`` works there
    (False where it is not said)."""

    def probe(self, target: Target) -> str | None:
        """Why it cannot run on ``target`` here, and what to do about it; None if it can. Imports nothing heavy."""
        ...

    def recipe(self, build: Build) -> dict[str, Any] | None:
        """All that decides the artifact's content, as plain JSON: its key in the cache. None: nothing is built."""
        ...

    def prepare(self, build: Build, cache: Cache) -> Artifact:
        """Builds the artifact, or takes it from the cache. Raises Unsupported (skipped) or CaseFailed (failed)."""
        ...

    def session(self, artifact: Artifact, job: Job) -> AbstractContextManager[Session]:
        """Opens the artifact. What the user would set for a deployment (threads, precision hints) is set here."""
        ...

    def usage(self, file: str, precision: str) -> tuple[str, str]:
        """For ``optibench export``: the import and the lines of Python that run ``file`` in the folder ``here`` on
        ``inputs`` (arrays by name). Backends that build no file need not have it."""
        ...

    def writing(self, file: str, precision: str) -> Writing:
        """The same for a build that generates. Without it such builds are neither exported nor published."""
        ...

    def gauge(self, limit: str, target: Target, threads: int) -> Gauge:
        """Work that reaches the target's ``limit``: a precision's arithmetic, or "memory". Raises Unsupported. For
        backends of another device than PyTorch's, which serves all others; they need not have it."""
        ...


def generates(build: Build) -> bool:
    """Whether the build is to make tokens one after the other."""
    return is_generative(plugins.load("task", build.model.ref.task), build.model.config)


def missing(module: str, extra: str) -> str | None:
    """Why ``module`` cannot be imported, with the pip line that mends it; None if it is installed."""
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    return None if found else f"{module} is not installed: pip install 'optibench[{extra}]'"


def main_precision(operations: Mapping[str, int]) -> str:
    """The precision that most compute-heavy operations run in ("none" if there are no such operations).

    A quantized build counts as quantized if any large operation is: what stayed in floating point is in the counts.
    """
    if not operations:
        return "none"
    small = [name for name in operations if name.startswith("int") or name == "fp8"]
    return max(small or list(operations), key=lambda name: operations[name])


def to_json(value: Any) -> Any:
    """A value as plain JSON types, for recipes and manifests: what it is when it is read again."""
    return msgspec.json.decode(msgspec.json.encode(value))
