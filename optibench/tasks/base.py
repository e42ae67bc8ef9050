"""What a task is: a module with constants and functions, typed by the Protocol below.

``encode`` runs where transformers is imported; ``answers`` runs in the slim worker, on numpy alone;
``predictions`` and ``METRICS`` run in the parent. Tasks are registered under the entry point ``optibench.tasks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from optibench import plugins
from optibench.errors import OptibenchError
from optibench.spool import Lines, Spool, numbers

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

    Arrays = Mapping[str, numpy.ndarray]
    Metric = Callable[[numpy.ndarray, numpy.ndarray], numpy.ndarray]

TRUTHS = "truths.jsonl"
LENGTHS = {"text": ("tokens", 128), "sound": ("samples", 80_000), "image": ("", 0)}
"""Kind of input -> what ``--length`` counts, and the default: of sound five seconds at 16,000 a second. A picture has
the size that the model's own processor gives it, and so no length."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Encoded rows: one dict of arrays an input. Of text they are integers, 1-D (or 0-D for names that begin with
    ``_``, which only ``answers`` reads). They may come one at a time, as they are made, so that none is held; then
    ``labels`` and ``truths`` are whole once the inputs were read.

    ``labels``: one number an example, as the metrics see it (none where the rows have no labels). ``truths``: what
    ``predictions`` must know beside them, as plain JSON (or a Spool of it, a value an example).
    ``shared``: arrays that every batch holds as they are, such as the texts that each picture is compared with.
    """

    inputs: Iterable[dict[str, numpy.ndarray]]
    labels: list[float]
    truths: Any = None
    shared: dict[str, numpy.ndarray] = field(default_factory=dict)

    def facts(self, judged: bool, folder: Path) -> dict[str, Any]:
        """What answers are judged by; nothing where the rows are only there to compare outputs. Truths that are too
        many to hold (a Spool) go to a file in ``folder``."""
        if not judged:
            return {"labels": []}
        if isinstance(self.truths, Spool):
            Lines.write(folder / TRUTHS, self.truths)
            return {"labels": self.labels, "truths_in": TRUTHS}
        return {"labels": self.labels, "truths": self.truths}


def truths_of(facts: Mapping[str, Any], folder: Path) -> Any:
    """The truths that ``Encoded.facts`` kept there; None where there are none."""
    return Lines(folder / facts["truths_in"]) if "truths_in" in facts else facts.get("truths")


def row_numbers(task: Any, rows: Sequence[Mapping[str, Any]], inputs: int) -> list[int]:
    """The number that each input's row has in the data's file; [] where rows do not make as many inputs each."""
    each = getattr(task, "INPUTS_AN_EXAMPLE", 1)
    if hasattr(task, "GROUP") or hasattr(task, "rows") or inputs != each * len(rows):
        return []
    return [number for number in numbers(rows) for _ in range(each)]


LONGEST = 512
"""Tokens at which texts are cut."""


class Task(Protocol):
    """The contract of a task module. Optional: ``INPUT`` and ``GENERATIVE`` (below), ``WHOLE`` (roles whose value may
    be a list or an object), ``GROUP`` (a role whose equal values keep rows together when data are split),
    ``INPUTS_AN_EXAMPLE`` (so many inputs, one after the other, make an example, whose prediction hangs on them alone:
    ``predictions`` is asked for a part of the examples at a time, and not all answers need to be held),
    ``UNCOMPARED`` (how many of an input's answers, the last, only judge it and do not tell how near two builds are) and
    ``row_of(text)`` (the row that a plain text makes where there are no data; by default it has the role text).

    Optional too: ``batch_rows(model)`` (inputs that may share a batch when they are judged), ``run(session, inputs,
    model)`` (a batch's outputs, in the worker; by default those of one call) and, of generative tasks,
    ``prompts(rows, tokenizer, model, new_tokens)`` (batches of which greedy decoding makes tokens that are compared).
    """

    INPUT: str
    """What ``encode`` is given as processor: "text" (where it is not said) a tokenizer, "image" an image processor,
    "sound" a feature extractor, "image+text" and "sound+text" a Pair of such and a tokenizer."""
    GENERATIVE: bool | str
    """Whether a build makes tokens one after the other (False where it is not said): prefill and decode are timed
    apart, and backends open a GenerativeSession. "encoder-decoder": builds of models that have both do."""
    AUTO_CLASS: str
    """The transformers class that loads its models (``AutoModelForSequenceClassification``); or, where that depends on
    the model, ``auto_class(model)``."""
    COLUMNS: dict[str, tuple[str, ...]]
    """Role -> the column names it usually goes by, the likeliest first. A role ending in ``?`` may be absent."""
    METRICS: dict[str, Metric]
    """Metric name -> function of predictions, shape (resamples, examples) or (resamples, examples, numbers), and
    labels, shape (resamples, examples), giving one value a resample. The first decides about the accuracy floor;
    higher is better."""
    HAS_TOP1: bool
    """Whether the largest entry of an answer is the model's choice, so that parity can count equal choices."""

    def encode(self, rows: Sequence[Mapping[str, Any]], processor: Any, model: Model, seed: int) -> Encoded:
        """Rows by role, made into model inputs and labels. Raises OptibenchError for labels the model lacks."""
        ...

    def answers(self, outputs: Arrays, inputs: Arrays, model: Model) -> numpy.ndarray | list[numpy.ndarray]:
        """From a batch's outputs to one vector an input: shape (batch, size), float32. Or, where an input has several
        answers (its words, its moments), a list with an array of shape (answers, size) for each input."""
        ...

    def predictions(self, answers: Any, labels: Any) -> numpy.ndarray:
        """From all answers, in the order of the inputs (an array; or, where each input has several, a sequence of
        arrays that are read as they are asked for), to one number an example, or a row of a few. ``labels`` are the
        examples' truths, where ``encode`` gave some."""
        ...


@dataclass(frozen=True)
class Pair:
    """What prepares pictures or sounds, and the tokenizer that goes with it."""

    media: Any
    tokenizer: Any


def auto_class(task: Any, model: Model) -> str:
    """The transformers class that loads this model for the task."""
    return str(task.auto_class(model) if hasattr(task, "auto_class") else task.AUTO_CLASS)


def kind_of(task: Any) -> str:
    """text, image or sound: what varies in a task's inputs."""
    return str(getattr(task, "INPUT", "text")).partition("+")[0]


def is_generative(task: Any, config: Mapping[str, Any]) -> bool:
    """Whether builds for the task of a model with this config make tokens one after the other."""
    said = getattr(task, "GENERATIVE", False)
    return bool(config.get("is_encoder_decoder")) if said == "encoder-decoder" else bool(said)


def length_unit(task_name: str) -> str:
    """What a length counts in that task; tokens where the task is not installed here."""
    known = task_name in plugins.names("task")
    return LENGTHS[kind_of(plugins.load("task", task_name)) if known else "text"][0]


def has_metric(task_name: str) -> bool:
    """Whether data can judge models of that task; so it is taken where the task is not installed here."""
    return task_name not in plugins.names("task") or plugins.load("task", task_name).METRICS != {}


def optional_roles(task_name: str) -> list[str]:
    """What data for that task may lack; then they judge nothing."""
    known = task_name in plugins.names("task")
    return [role[:-1] for role in plugins.load("task", task_name).COLUMNS if role.endswith("?")] if known else []


def tokenized(tokenizer: Any, text: str, pair: str | None, model: Model) -> dict[str, numpy.ndarray]:
    """One text (or pair) as the tokenizer's arrays, cut at the model's positions (512 where none are known)."""
    import numpy as np

    most = min(model.max_length or LONGEST, LONGEST)
    if pair is not None:  # calibration cuts short, but the separators need their room
        most = max(most, tokenizer.num_special_tokens_to_add(pair=True) + 1)
    encoded = tokenizer(text, pair, truncation=True, max_length=most)
    return {name: np.asarray(values, np.int64) for name, values in encoded.items()}


def with_offsets(tokenizer: Any, why: str, *texts: str, **options: Any) -> Any:
    """The tokenizer's encoding with each token's place in the text. Error: a tokenizer that cannot tell places."""
    if not tokenizer.is_fast:
        raise OptibenchError(
            f"This model's tokenizer does not tell which characters a token stands for, so {why}. "
            "Put a tokenizer.json beside the model."
        )
    return tokenizer(*texts, truncation=options.pop("truncation", True), return_offsets_mapping=True, **options)


def first_output(outputs: Arrays, *names: str) -> numpy.ndarray:
    """The output of one of these names, else the first there is (a stranger's graph names them as it likes)."""
    return next((outputs[name] for name in names if name in outputs), next(iter(outputs.values())))
