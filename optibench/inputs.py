"""The inputs that a run needs, made once and kept in the cache: what is timed, what judges accuracy, what calibrates.

An entry holds ``shape-BxL.npz`` (timing), ``evaluation.npz`` and ``calibration.npz`` (batches, keys ``INDEX/NAME``),
and, in its manifest's facts, labels and counts. Slim workers read the files with numpy alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import data, plugins
from optibench.arrays import collated, save
from optibench.cache import sha256_of_file
from optibench.errors import OptibenchError, first_line
from optibench.host import package_versions
from optibench.signature import Sizes, fixed_sizes, inputs_for, signature_of
from optibench.tasks.base import tokenized
from optibench.values import DataRef, Model, Shape, Value, Workload

if TYPE_CHECKING:
    import numpy

BATCH = 16
"""Rows of an evaluation batch; batches are made of inputs of like length, so little is padding."""
CALIBRATION_LENGTHS = (4, 32, 128)
"""Calibration samples are cut at these lengths in turn: short inputs have ranges of their own."""


class Sources(Value, frozen=True, kw_only=True):
    """Which rows judge and which calibrate, told by digest. ``rows_judge``: the evaluation rows have labels."""

    evaluation: DataRef | None
    calibration: DataRef


class Rows(Value, frozen=True, kw_only=True):
    """The rows themselves, by role, and what they are called."""

    sources: Sources
    evaluation: list[dict[str, Any]]
    calibration: list[dict[str, Any]]


def rows_of(model: Model, workload: Workload) -> Rows:
    """Reads and splits the data that the workload names; texts that every Python has stand in where it names none."""
    task = plugins.load("task", model.ref.task)
    texts = [{"text": text} for text in data.default_texts(2 * data.CALIBRATION_ROWS)]
    parity, calibration = texts[::2], texts[1::2]
    calibration_id = data.DEFAULT_TEXTS_ID
    evaluation, evaluation_id = parity, data.DEFAULT_TEXTS_ID
    if workload.dataset:
        if not task.COLUMNS:
            task.encode([], None, model, 0)  # says why this task cannot use data
        everything = data.rows(workload.dataset, task.COLUMNS, workload.columns)
        evaluation_id = workload.dataset
        if workload.calibration:
            evaluation = everything[: workload.limit]
        else:
            evaluation, held_out = data.split(everything, workload.limit, workload.seed)
            if held_out:
                calibration, calibration_id = held_out, workload.dataset
    if workload.calibration:
        calibration_id = workload.calibration
        calibration = data.rows(workload.calibration, {"text": ("text", "sentence", "content")}, {})
        seen = {str(value) for row in evaluation for role, value in row.items() if role != "label"}
        calibration = [row for row in calibration if row["text"] not in seen][: data.CALIBRATION_ROWS]
        if not calibration:
            raise OptibenchError(f"Every text of the calibration data {calibration_id} is evaluated too. Give others.")
    judged = bool(workload.dataset) or set(task.COLUMNS) == {"text"}
    return Rows(
        sources=Sources(
            evaluation=data.reference(evaluation_id, evaluation) if judged and task.COLUMNS else None,
            calibration=data.reference(calibration_id, calibration),
        ),
        evaluation=evaluation,
        calibration=calibration,
    )


def recipe(model: Model, workload: Workload, sources: Sources) -> dict[str, Any]:
    """All that decides the inputs: the cache key."""
    return {
        "kind": "inputs",
        "version": 3,
        "model": model.ref.revision,
        "task": model.ref.task,
        "tokenizer": tokenizer_digest(model),
        "max_length": model.max_length,
        "labels": list(model.labels),
        "evaluation": sources.evaluation.sha256 if sources.evaluation else None,
        "calibration": sources.calibration.sha256,
        "shapes": [shape.name for shape in workload.shapes],
        "seed": workload.seed,
        "tools": package_versions(("transformers", "tokenizers")),
    }


def tokenizer_digest(model: Model) -> int:
    """A digest of the tokenizer's files beside the model (0 if there are none)."""
    path = Path(model.path)
    folder = path if path.is_dir() else path.parent
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model")
    found = "".join(sha256_of_file(folder / name) for name in names if (folder / name).is_file())
    return zlib.crc32(found.encode()) if found else 0


def make(folder: Path, model: Model, workload: Workload, rows: Rows) -> dict[str, Any]:
    """Writes the entry's files and gives its facts. Runs where transformers may be imported."""
    if model.ref.task == "graph":
        return _make_from_signature(folder, model, workload)
    task = plugins.load("task", model.ref.task)
    tokenizer = load_tokenizer(model)
    encoded = task.encode(rows.evaluation, tokenizer, model, workload.seed)
    if not encoded.inputs:
        raise OptibenchError("None of the data's rows can be used for this task: no usable input is left.")
    pads = pad_values(tokenizer)
    fixed = _fixed_sizes(model)
    size, least = fixed.batch or BATCH, fixed.length or 0
    order = sorted(range(len(encoded.inputs)), key=lambda i: len(encoded.inputs[i]["input_ids"]))
    batches = [
        collated([encoded.inputs[i] for i in order[start : start + size]], pads, least)
        for start in range(0, len(order), size)
    ]
    save(folder / "evaluation.npz", batches)
    samples = _calibration_samples(task, rows, tokenizer, model, workload.seed)
    save(folder / "calibration.npz", [collated([sample], pads, least) for sample in samples])
    texts = [str(value) for row in rows.calibration for role, value in row.items() if role != "label"]
    for shape in workload.shapes:
        save(folder / f"shape-{shape.name}.npz", [_timing(tokenizer, texts, shape)])
    return {"labels": encoded.labels if rows.sources.evaluation else [], "order": order, "names": list(batches[0])}


def _fixed_sizes(model: Model) -> Sizes:
    """What a graph fixes of its inputs. Error: more rows at a time than one, since data rarely fill whole batches."""
    if not model.is_graph:
        return Sizes(batch=None, length=None)
    fixed = fixed_sizes(signature_of(Path(model.path)))
    if (fixed.batch or 1) > 1:
        raise OptibenchError(
            f"This graph takes {fixed.batch} rows at a time, so texts cannot judge it one by one. Export it with a "
            "free batch or a batch of 1, or give --task graph to time it alone."
        )
    return fixed


def _calibration_samples(
    task: Any, rows: Rows, tokenizer: Any, model: Model, seed: int
) -> list[dict[str, numpy.ndarray]]:
    """One input a sample, cut at CALIBRATION_LENGTHS in turn by the tokenizer (which keeps the closing token).

    Rows of the same roles as the evaluation's are encoded by the task; plain texts by the tokenizer alone.
    """
    by_role = set(rows.calibration[0]) == set(rows.evaluation[0]) and len(rows.calibration[0]) > 1
    samples: list[dict[str, numpy.ndarray]] = []
    for number, length in enumerate(CALIBRATION_LENGTHS):
        short = msgspec.structs.replace(model, max_length=min(length, model.max_length or length))
        mine = rows.calibration[number :: len(CALIBRATION_LENGTHS)]
        if by_role:
            samples += task.encode(mine, tokenizer, short, seed).inputs
        else:
            samples += [tokenized(tokenizer, str(row["text"]), None, short) for row in mine]
    return [{name: array for name, array in sample.items() if array.ndim} for sample in samples]


def _timing(tokenizer: Any, texts: Sequence[str], shape: Shape) -> dict[str, numpy.ndarray]:
    """Rows of real text, each exactly ``shape.length`` tokens: no padding, since padding's cost is not the model's."""
    import numpy as np

    words = " ".join(texts).split()
    if not words:
        raise OptibenchError("The calibration texts hold no words, so there is nothing to time. Give others.")
    while len(words) < 4 * shape.length:
        words = words * 2
    rows = []
    for row in range(shape.batch):
        start = (row * shape.length) % len(words)
        text = " ".join((words[start:] + words[:start])[: 4 * shape.length])
        rows.append(tokenizer(text, truncation=True, max_length=shape.length))
        if (found := len(rows[-1]["input_ids"])) != shape.length:
            raise OptibenchError(
                f"The model's tokenizer makes a row of {found} tokens where --length {shape.length} was asked for. "
                "Give another length."
            )
    return {name: np.asarray([row[name] for row in rows], np.int64) for name in rows[0]}


def load_tokenizer(model: Model) -> Any:
    """The model's own tokenizer, from the files beside it."""
    from transformers import AutoTokenizer

    path = Path(model.path)
    folder = path if path.is_dir() else path.parent
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # the libraries below raise whatever their parsers do
        raise OptibenchError(
            f"The tokenizer of {model.ref.id} cannot be loaded: {first_line(error)}. "
            "Put tokenizer.json (or its vocabulary) and tokenizer_config.json beside the model."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def pad_values(tokenizer: Any) -> dict[str, int]:
    """What fills up a shorter row, by input name (0 for those not named)."""
    return {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0)}


def _make_from_signature(folder: Path, model: Model, workload: Workload) -> dict[str, Any]:
    """Inputs for a finished graph, from its inputs' names, types and shapes."""
    signature = signature_of(Path(model.path))
    for shape in workload.shapes:
        save(folder / f"shape-{shape.name}.npz", [inputs_for(signature, shape, workload.seed)])
    small = Shape(batch=2, length=workload.shapes[0].length and min(workload.shapes[0].length, 48))
    evaluation = [inputs_for(signature, small, workload.seed + 1 + i) for i in range(8)]
    save(folder / "evaluation.npz", evaluation)
    one = Shape(batch=1, length=small.length)
    calibration = [inputs_for(signature, one, workload.seed + 1000 + i) for i in range(32)]
    save(folder / "calibration.npz", calibration)
    count = sum(len(next(iter(batch.values()))) for batch in evaluation)
    return {"labels": [], "order": list(range(count)), "names": [i.name for i in signature], "synthetic": True}
