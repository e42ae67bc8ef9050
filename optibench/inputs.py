"""The inputs that a run needs, made once and kept in the cache: what is timed, what judges accuracy, what calibrates.

An entry holds ``shape-BxL.npz`` (timing), ``evaluation.npz`` and ``calibration.npz`` (batches, keys ``INDEX/NAME``),
and, in its manifest's facts, labels and counts. Slim workers read the files with numpy alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import data, embedders, media, plugins
from optibench.arrays import collated, save
from optibench.cache import sha256_of_file
from optibench.errors import OptibenchError
from optibench.generation_rules import PROMPT, PROMPTS, rules_digest, with_shared
from optibench.given import arrays_from_file
from optibench.host import package_versions
from optibench.processors import load_processor, pad_values, processor_digest, tokenizer_digest
from optibench.signature import given, inputs_for, signature_of, sizes_for_data
from optibench.spool import Spool
from optibench.tasks.base import kind_of, row_numbers, tokenized
from optibench.tasks.graph import rows_of as rows_of_graph
from optibench.values import DataRef, Model, Shape, Value, Workload, digest_of

if TYPE_CHECKING:
    import numpy

BATCH = 16
"""Rows of an evaluation batch; batches are made of inputs of like length, so little is padding."""
STACKED_BYTES = 1_000_000
"""Batches of one shape are stored together up to this size."""
MEDIA_STAND_INS = 24
"""Synthetic pictures or sounds that compare outputs, and as many that calibrate."""
CALIBRATION_LENGTHS = (4, 32, 128)
"""Calibration samples are cut at these lengths in turn: short inputs have ranges of their own."""


class Sources(Value, frozen=True, kw_only=True):
    """Which rows judge and which calibrate, told by digest. ``rows_judge``: the evaluation rows have labels."""

    evaluation: DataRef | None
    calibration: DataRef


class Rows(Value, frozen=True, kw_only=True):
    """The rows themselves, by role, and what they are called."""

    sources: Sources
    evaluation: Sequence[dict[str, Any]]
    calibration: Sequence[dict[str, Any]]


def rows_of(model: Model, workload: Workload) -> Rows:
    """Reads and splits the data that the workload names; texts that every Python has stand in where it names none."""
    task = plugins.load("task", model.ref.task)
    kind = kind_of(task)
    stand_ins, stand_in_id = _stand_ins(task, kind)
    evaluation: Sequence[dict[str, Any]] = stand_ins[::2]
    calibration: Sequence[dict[str, Any]] = stand_ins[1::2]
    evaluation_id = calibration_id = stand_in_id
    if hasattr(task, "rows"):
        if workload.columns:
            raise OptibenchError(f"{workload.dataset} has no columns to be named: leave --columns out.")
        evaluation = task.rows(workload.dataset, workload.limit, model.trust_remote_code)
        evaluation_id = task.name_of(workload.dataset)
    elif workload.dataset:
        if not task.COLUMNS:
            task.encode([], None, model, 0)  # says why this task cannot use data
        everything = data.rows(workload.dataset, task.COLUMNS, workload.columns, getattr(task, "WHOLE", ()))
        evaluation_id = workload.dataset
        if workload.calibration:
            evaluation = everything[: workload.limit]
        else:
            group = getattr(task, "GROUP", None)
            evaluation, held_out = data.split(everything, workload.limit, workload.seed, group)
            if held_out:
                calibration, calibration_id = held_out, workload.dataset
    if workload.calibration:
        calibration_id = workload.calibration
        role = {"text": "text", "image": "image", "sound": "audio"}[kind]
        usual = ("text", "sentence", "content") if kind == "text" else task.COLUMNS[role]
        calibration = data.rows(workload.calibration, {role: usual}, {})
        calibration = data.unseen(calibration, evaluation, data.CALIBRATION_ROWS)
        if not calibration:
            raise OptibenchError(f"Every row of the calibration data {calibration_id} is evaluated too. Give others.")
        if kind == "text" and hasattr(task, "row_of"):
            calibration = [task.row_of(str(row["text"])) for row in calibration]
    if workload.input_file or workload.input_shapes:
        return Rows(sources=Sources(evaluation=None, calibration=_given_ref(workload)), evaluation=[], calibration=[])
    if model.ref.task == "graph":
        noise = DataRef(id="noise of the graph's own inputs", sha256=digest_of(workload.seed), count=32)
        return Rows(sources=Sources(evaluation=None, calibration=noise), evaluation=[], calibration=[])
    judged = bool(workload.dataset) or set(task.COLUMNS) == {"text"}
    return Rows(
        sources=Sources(
            evaluation=data.reference(evaluation_id, evaluation) if judged and task.COLUMNS else None,
            calibration=data.reference(calibration_id, calibration),
        ),
        evaluation=evaluation,
        calibration=calibration,
    )


def _given_ref(workload: Workload) -> DataRef:
    """What a graph is calibrated with where the user says its inputs."""
    shapes = digest_of(workload.input_shapes)
    if workload.input_file is None:
        return DataRef(id="noise of the shapes given", sha256=shapes, count=32)
    path = Path(workload.input_file).expanduser()
    if not path.is_file():
        raise OptibenchError(f"The file {workload.input_file} (--inputs) is gone. Put it back, or give another.")
    return DataRef(id=path.name, sha256=digest_of([sha256_of_file(path), shapes]), count=1)


def _stand_ins(task: Any, kind: str) -> tuple[list[dict[str, Any]], str]:
    """Rows where the user gave no data, and what they are called. Half of them judge parity, half calibrate."""
    if kind == "text":
        row_of = getattr(task, "row_of", lambda text: {"text": text})
        return [row_of(text) for text in data.default_texts(2 * data.CALIBRATION_ROWS)], data.DEFAULT_TEXTS_ID
    role = "image" if kind == "image" else "audio"
    return [{role: made} for made in media.stand_ins(role, 2 * MEDIA_STAND_INS)], media.STAND_IN_IDS[role]


def recipe(model: Model, workload: Workload, sources: Sources) -> dict[str, Any]:
    """All that decides the inputs: the cache key."""
    return {
        "kind": "inputs",
        "version": 4,
        "model": model.ref.revision,
        "task": model.ref.task,
        "tokenizer": tokenizer_digest(model),
        **({"processor": found} if (found := processor_digest(model)) else {}),
        **({"rules": found} if (found := rules_digest(model)) else {}),
        **({"use": use} if (use := embedders.use(model)) else {}),
        "max_length": model.max_length,
        "labels": list(model.labels),
        "evaluation": sources.evaluation.sha256 if sources.evaluation else None,
        "calibration": sources.calibration.sha256,
        "shapes": list(dict.fromkeys(shape.size for shape in workload.shapes)),
        "seed": workload.seed,
        **({"new_tokens": found} if (found := _new_tokens(workload)) else {}),
        "tools": package_versions(("transformers", "tokenizers")),
    }


def _new_tokens(workload: Workload) -> int:
    return max(shape.new_tokens for shape in workload.shapes)


def make(folder: Path, model: Model, workload: Workload, rows: Rows) -> dict[str, Any]:
    """Writes the entry's files and gives its facts. Runs where transformers may be imported."""
    if model.ref.task == "graph":
        return _make_from_signature(folder, model, workload)
    task = plugins.load("task", model.ref.task)
    if kind_of(task) != "text":
        from optibench import media_inputs

        judged = bool(rows.sources.evaluation)
        return media_inputs.make(folder, model, workload, rows.evaluation, rows.calibration, judged)
    tokenizer = load_processor(model, "text")
    encoded = task.encode(rows.evaluation, tokenizer, model, workload.seed)
    inputs = Spool(encoded.inputs)
    if not inputs:
        raise OptibenchError("None of the data's rows can be used for this task: no usable input is left.")
    pads = pad_values(tokenizer)
    fixed = sizes_for_data(model)
    rows_of_batch = task.batch_rows(model) if hasattr(task, "batch_rows") else BATCH
    size, least = fixed.batch or rows_of_batch, fixed.length or 0
    lengths = array("L", (len(one["input_ids"]) for one in inputs))
    order = sorted(range(len(inputs)), key=lengths.__getitem__)

    def batch_of(rows: Sequence[dict[str, numpy.ndarray]]) -> dict[str, numpy.ndarray]:
        return with_shared(collated(rows, pads, least), encoded.shared)

    batches = (batch_of([inputs[i] for i in order[start : start + size]]) for start in range(0, len(order), size))
    save(folder / "evaluation.npz", batches, together_bytes=STACKED_BYTES)
    samples = _calibration_samples(task, rows, tokenizer, model, workload.seed)
    save(folder / "calibration.npz", [batch_of([sample]) for sample in samples])
    words = [word for row in rows.calibration for word in data.words_of(row)]
    for shape in workload.shapes:
        save(folder / f"shape-{shape.size}.npz", [with_shared(_timing(tokenizer, words, shape), encoded.shared)])
    if PROMPT in encoded.shared:
        save(folder / "prompts.npz", [batch_of([one]) for one in inputs[:PROMPTS]])
    if hasattr(task, "prompts"):
        save(folder / "prompts.npz", task.prompts(rows.evaluation, tokenizer, model, _new_tokens(workload)))
    judged = bool(rows.sources.evaluation)
    numbers = row_numbers(task, rows.evaluation, len(inputs)) if judged else []
    return {
        **encoded.facts(judged, folder),
        "order": order,
        "names": list(batch_of(inputs[:1])),
        **({"numbers": numbers} if numbers else {}),
    }


def _calibration_samples(
    task: Any, rows: Rows, tokenizer: Any, model: Model, seed: int
) -> list[dict[str, numpy.ndarray]]:
    """One input a sample, cut at CALIBRATION_LENGTHS in turn by the tokenizer (which keeps the closing token).

    Rows of several roles are encoded by the task; plain texts by the tokenizer alone.
    """
    given = [{role: value for role, value in row.items() if role not in data.LABELS} for row in rows.calibration]
    by_role = hasattr(task, "row_of") or set(given[0]) != {"text"}
    samples: list[dict[str, numpy.ndarray]] = []
    for number, length in enumerate(CALIBRATION_LENGTHS):
        short = msgspec.structs.replace(model, max_length=min(length, model.max_length or length))
        mine = given[number :: len(CALIBRATION_LENGTHS)]
        if by_role:
            samples += task.encode(mine, tokenizer, short, seed).inputs
        else:
            samples += [tokenized(tokenizer, str(row["text"]), None, short) for row in mine]
    return [without_marks(sample) for sample in samples]


def without_marks(arrays: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """The arrays that a model takes: those whose names begin with ``_`` are for ``answers`` alone."""
    return {name: array for name, array in arrays.items() if not name.startswith("_")}


def _timing(tokenizer: Any, words: Sequence[str], shape: Shape) -> dict[str, numpy.ndarray]:
    """Rows of real text, each exactly ``shape.length`` tokens: no padding, since padding's cost is not the model's."""
    import numpy as np

    if not words:
        raise OptibenchError("The calibration texts hold no words, so there is nothing to time. Give others.")
    words = list(words)
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


def _make_from_signature(folder: Path, model: Model, workload: Workload) -> dict[str, Any]:
    """Inputs for a finished graph, from its inputs' names, types and shapes."""
    own = signature_of(Path(model.path))
    signature = given(own, workload.input_shapes, workload.input_file)
    real = arrays_from_file(own, workload.input_file) if workload.input_file else {}
    if len(real) == len(own):  # nothing is left to make up
        for name in (*(f"shape-{shape.size}" for shape in workload.shapes), "evaluation", "calibration"):
            save(folder / f"{name}.npz", [real])
        return {"labels": [], "order": list(range(rows_of_graph(real))), "names": [i.name for i in own]}

    def made(shape: Shape, seed: int) -> dict[str, numpy.ndarray]:
        return inputs_for(signature, shape, seed) | real

    for shape in workload.shapes:
        save(folder / f"shape-{shape.size}.npz", [made(shape, workload.seed)])
    small = Shape(batch=2, length=workload.shapes[0].length and min(workload.shapes[0].length, 48))
    evaluation = [made(small, workload.seed + 1 + i) for i in range(8)]
    save(folder / "evaluation.npz", evaluation)
    one = Shape(batch=1, length=small.length)
    calibration = [made(one, workload.seed + 1000 + i) for i in range(32)]
    save(folder / "calibration.npz", calibration)
    count = sum(map(rows_of_graph, evaluation))
    return {"labels": [], "order": list(range(count)), "names": [i.name for i in signature], "synthetic": True}
