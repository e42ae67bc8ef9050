"""From the answers that a worker wrote to scores and parity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import plugins
from optibench.values import Parity, Score

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

CHUNK = 4096


def answers_from_file(judged: dict[str, Any], order: Sequence[int]) -> Array:
    """The worker's answers, shape (inputs, size), in the inputs' original order (the file is in order of length).

    ``judged`` is the worker's reply (file, count, size); ``order[i]`` is the original place of the file's row i.
    """
    import numpy as np

    stored = np.memmap(Path(judged["file"]), np.float32, "r", shape=(judged["count"], judged["size"]))
    back = np.empty(len(order), np.int64)
    back[np.asarray(order)] = np.arange(len(order))
    return stored[back] if judged["count"] == len(order) else np.asarray(stored)


def scores_of(task_name: str, answers: Array, labels: Sequence[float]) -> tuple[Score, ...]:
    """Every metric of the task; none where there are no labels."""
    import numpy as np

    if not len(labels):
        return ()
    task = plugins.load("task", task_name)
    truth = np.asarray(labels, float)
    predictions = np.asarray(task.predictions(answers, truth), float)
    return tuple(
        Score(
            metric=name,
            value=float(metric(predictions[None], truth[None])[0]),
            count=len(truth),
            predictions=tuple(predictions.tolist()),
            labels=tuple(truth.tolist()),
        )
        for name, metric in task.METRICS.items()
    )


def parity_of(task_name: str, answers: Array, reference: Array) -> Parity | None:
    """How near the answers are to the reference's; None where the two cannot be laid side by side."""
    import numpy as np

    if answers.shape != reference.shape or not answers.size:
        return None
    cosines, worst, same = [], 0.0, 0
    for start in range(0, len(answers), CHUNK):
        mine = np.asarray(answers[start : start + CHUNK], np.float64)
        theirs = np.asarray(reference[start : start + CHUNK], np.float64)
        # Logits may hold -inf for what is ruled out: alike on both sides, it is no difference.
        both = np.isfinite(mine) & np.isfinite(theirs)
        mine, theirs = np.where(both, mine, 0.0), np.where(both, theirs, 0.0)
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines.append(np.where(lengths > 0, (mine * theirs).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0))
        worst = max(worst, float(np.abs(mine - theirs).max()))
        same += int((mine.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    cosine = np.concatenate(cosines)
    top1 = plugins.load("task", task_name).HAS_TOP1 and answers.shape[1] > 1
    return Parity(
        cosine=float(cosine.mean()),
        cosine_min=float(cosine.min()),
        max_abs_difference=worst,
        top1_agreement=same / len(answers) if top1 else None,
        count=len(answers),
    )
