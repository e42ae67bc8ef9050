"""The inputs of models that see or hear: pictures and sounds through the model's own processor, before any timed call.

Nothing is padded: only inputs of one size share a batch, since not every such model takes a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import media, plugins
from optibench.arrays import save
from optibench.errors import OptibenchError
from optibench.generation_rules import PROMPT, PROMPTS, with_shared
from optibench.processors import load_processor
from optibench.signature import sizes_for_data
from optibench.tasks import sounds
from optibench.tasks.base import Pair, kind_of, row_numbers
from optibench.tasks.sounds import rate_of
from optibench.values import Model, Shape, Workload

if TYPE_CHECKING:
    import numpy

    Arrays = dict[str, numpy.ndarray]

BATCH = 16
CALIBRATION_BYTES = 256_000_000
"""Of calibration samples at most: they are all in memory while int8 is calibrated."""
LEAST_SECONDS = 0.5
"""Sounds are not cut shorter than this to calibrate: below it some models have no frame at all."""

Rows = Sequence[dict[str, Any]]


def make(
    folder: Path, model: Model, workload: Workload, evaluation: Rows, calibration: Rows, judged: bool
) -> dict[str, Any]:
    """Writes the entry's files and gives its facts, as inputs.make does for texts."""
    task = plugins.load("task", model.ref.task)
    processor = load_processor(model, task.INPUT)
    encoded = task.encode(evaluation, processor, model, workload.seed)
    count = 0

    def counted() -> Iterator[Arrays]:
        nonlocal count
        for batch in _batches(encoded.inputs, encoded.shared, sizes_for_data(model).batch or BATCH):
            count += _rows_of(batch, encoded.shared)
            yield batch

    save(folder / "evaluation.npz", counted())
    given = list(_given(calibration, kind_of(task), processor))

    def inputs_of(rows: Rows) -> Iterator[Arrays]:
        return iter(task.encode(rows, processor, model, workload.seed).inputs)

    save(folder / "calibration.npz", _within(CALIBRATION_BYTES, _batches(inputs_of(given), encoded.shared, 1)))
    if PROMPT in encoded.shared:
        save(folder / "prompts.npz", _batches(inputs_of(evaluation[:PROMPTS]), encoded.shared, 1))
    for shape in workload.shapes:
        rows = _timed(given, shape, rate_of(processor.media if isinstance(processor, Pair) else processor))
        save(folder / f"shape-{shape.size}.npz", [_alike(inputs_of(rows), encoded.shared, shape)])
    numbers = row_numbers(task, evaluation, count) if judged else []
    return {
        **encoded.facts(judged, folder),
        "order": list(range(count)),
        "names": [],
        **({"numbers": numbers} if numbers else {}),
    }


def _batches(inputs: Iterable[Arrays], shared: Arrays, most: int) -> Iterator[Arrays]:
    """Neighbours of one size as batches of at most ``most`` rows, with what all batches share."""
    held: list[Arrays] = []
    for one in inputs:
        if held and (len(held) == most or _shapes(one) != _shapes(held[0])):
            yield _stacked(held, shared)
            held = []
        held.append(one)
    if held:
        yield _stacked(held, shared)


def _shapes(arrays: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in arrays.items()}


def _stacked(held: Sequence[Arrays], shared: Arrays) -> Arrays:
    import numpy as np

    return with_shared({name: np.stack([one[name] for one in held]) for name in held[0]}, shared)


def _rows_of(batch: Arrays, shared: Arrays) -> int:
    return next(len(array) for name, array in batch.items() if name not in shared)


def _given(rows: Rows, kind: str, processor: Any) -> Iterator[dict[str, Any]]:
    """What calibrates, without labels; sounds are decoded, and cut to several lengths."""
    rate = rate_of(processor.media if isinstance(processor, Pair) else processor)
    for row in rows:
        if kind == "image":
            yield {"image": row["image"]}
            continue
        for cut in media.cuts(media.wave(row["audio"], rate), int(LEAST_SECONDS * rate)):
            yield {"audio": cut}


def _within(most_bytes: int, batches: Iterable[Arrays]) -> Iterator[Arrays]:
    total = 0
    for number, batch in enumerate(batches):
        total += sum(array.nbytes for array in batch.values())
        if total > most_bytes and number >= 8:
            return
        yield batch


def _timed(given: Rows, shape: Shape, rate: int) -> Rows:
    """Rows to time: real sound of ``shape.length`` samples each, end to end; or the pictures in turn."""
    import numpy as np

    if "image" in given[0]:
        return [given[number % len(given)] for number in range(max(shape.batch, len(given)))]
    if shape.length < sounds.LEAST_SECONDS * rate:
        raise OptibenchError(
            f"--length {shape.length} is {shape.length / rate:.4f} seconds of sound, too few to hear anything: give "
            f"{ceil(sounds.LEAST_SECONDS * rate)} samples at least."
        )
    whole = np.concatenate([row["audio"] for row in given])
    wanted = shape.batch * shape.length
    return [{"audio": row} for row in np.resize(whole, wanted).reshape(shape.batch, shape.length)]


def _alike(inputs: Iterator[Arrays], shared: Arrays, shape: Shape) -> Arrays:
    """A batch of the shape's rows, all of the first one's size (pictures may differ in theirs)."""
    held: list[Arrays] = []
    for one in inputs:
        if not held or _shapes(one) == _shapes(held[0]):
            held.append(one)
        if len(held) == shape.batch:
            break
    return _stacked([held[number % len(held)] for number in range(shape.batch)], shared)
