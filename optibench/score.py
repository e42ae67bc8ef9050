"""From the answers that a worker wrote to scores and parity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import plugins
from optibench.tasks.base import is_generative
from optibench.values import Model, Parity, Score, Workload

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

CHUNK = 4096


def answers_from_file(judged: dict[str, Any], order: Sequence[int]) -> tuple[Array, list[int]]:
    """The worker's answers, shape (answers, size), in the inputs' original order (the file is in order of length); and
    how many each input has ([] where it is one).

    ``judged`` is the worker's reply (file, count, size, rows); ``order[i]`` is the place of the file's input i.
    """
    import numpy as np

    shape = (judged["count"], judged["size"])
    nothing = not all(shape)  # an empty file cannot be mapped
    stored = np.zeros(shape, np.float32) if nothing else np.memmap(Path(judged["file"]), np.float32, "r", shape=shape)
    rows = judged.get("rows") or []
    if (len(rows) or judged["count"]) != len(order):
        return np.asarray(stored), []
    back = np.argsort(np.asarray(order, np.int64), kind="stable")  # place in the file of each input
    if not rows:
        return stored[back], []
    ends = np.cumsum(rows)
    wanted = [np.arange(ends[place] - rows[place], ends[place]) for place in back]
    return stored[np.concatenate(wanted)], [rows[place] for place in back]


def scores_of(
    task_name: str,
    answers: Array,
    labels: Sequence[float],
    truths: Any = None,
    rows: Sequence[int] = (),
    asked: tuple[Model, Workload] | None = None,
) -> tuple[Score, ...]:
    """Every metric of the task; none where there are no labels. ``rows``: how many answers each input has, if not
    one. ``asked``: of whom, and by what data, for tasks whose metrics depend on them."""
    import numpy as np

    if not len(labels):
        return ()
    task = plugins.load("task", task_name)
    truth = np.asarray(labels, float)
    mine = np.split(answers, np.cumsum(rows)[:-1]) if len(rows) else answers
    if hasattr(task, "scores"):
        assert asked is not None, "such a task is only judged in a run"
        return tuple(task.scores(mine, truths, *asked))
    predictions = np.asarray(task.predictions(mine, truth if truths is None else truths), float)
    return tuple(
        Score(
            metric=name,
            value=float(metric(predictions[None], truth[None])[0]),
            count=len(truth),
            predictions=tuple(tuple(one) if isinstance(one, list) else one for one in predictions.tolist()),
            labels=tuple(truth.tolist()),
        )
        for name, metric in task.METRICS.items()
    )


def compared(task_name: str, answers: Array, rows: Sequence[int]) -> Array:
    """The answers that say how near two builds are: all but those that only judge (a task's ``UNCOMPARED``, the last
    so many of each input's)."""
    import numpy as np

    last = getattr(plugins.load("task", task_name), "UNCOMPARED", 0)
    if not last or not len(rows):
        return answers
    return np.concatenate([one[:-last] for one in np.split(answers, np.cumsum(rows)[:-1])])


def parity_of(task_name: str, answers: Array, reference: Array) -> Parity | None:
    """How near the answers are to the reference's; None where the two cannot be laid side by side, and where text is
    generated, whose tokens are compared instead (agreement.py)."""
    import numpy as np

    if is_generative(plugins.load("task", task_name), {}):
        return None
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
