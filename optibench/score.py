"""From the answers that a worker wrote to scores and parity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optibench import plugins
from optibench.answers import Answers
from optibench.tasks.base import is_generative
from optibench.values import Model, Parity, Score, Workload

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray


def scores_of(
    task_name: str,
    answers: Answers,
    labels: Sequence[float],
    truths: Any = None,
    asked: tuple[Model, Workload] | None = None,
) -> tuple[Score, ...]:
    """Every metric of the task; none where there are no labels. ``asked``: of whom, and by what data, for tasks whose
    metrics depend on them."""
    import numpy as np

    if not len(labels):
        return ()
    task = plugins.load("task", task_name)
    truth = np.asarray(labels, float)
    if hasattr(task, "scores"):
        assert asked is not None, "such a task is only judged in a run"
        return tuple(task.scores(answers if answers.several else answers.rows(), truths, *asked))
    predictions = np.asarray(_predictions(task, answers, truth, truths), float)
    # One tuple of each for all metrics: of a large data set they are what a record holds.
    made = tuple(tuple(one) if isinstance(one, list) else one for one in predictions.tolist())
    right = tuple(map(float, labels))
    return tuple(
        Score(
            metric=name,
            value=float(metric(predictions[None], truth[None])[0]),
            count=len(truth),
            predictions=made,
            labels=right,
        )
        for name, metric in task.METRICS.items()
    )


def _predictions(task: Any, answers: Answers, truth: Array, truths: Any) -> Any:
    """The examples' predictions: of some megabytes of answers at a time, where the task says that an example's hang on
    its own inputs alone (``INPUTS_AN_EXAMPLE``), or iterates over them itself."""
    import numpy as np

    if answers.several:
        return task.predictions(answers, truth if truths is None else truths)
    together = getattr(task, "INPUTS_AN_EXAMPLE", 0)
    if not together or truths is not None or len(answers) != together * len(truth):
        return task.predictions(answers.rows(), truth if truths is None else truths)
    return np.concatenate(
        [
            task.predictions(answers[part].rows(), truth[part.start // together : part.stop // together])
            for part in answers.parts(together)
        ]
    )


def compared(task_name: str, answers: Answers) -> Answers:
    """The answers that say how near two builds are: all but those that only judge (a task's ``UNCOMPARED``, the last
    so many of each input's)."""
    last = getattr(plugins.load("task", task_name), "UNCOMPARED", 0)
    return answers.without_last(last) if last and answers.several else answers


def parity_of(task_name: str, answers: Answers, reference: Answers) -> Parity | None:
    """How near the answers are to the reference's; None where the two cannot be laid side by side, and where text is
    generated, whose tokens are compared instead (agreement.py)."""
    import numpy as np

    task = plugins.load("task", task_name)
    if is_generative(task, {}) or not len(answers) or len(answers) != len(reference):
        return None
    cosines, worst, same = [], 0.0, 0
    for part in reference.parts():
        mine, theirs = answers[part].rows(), reference[part].rows()
        if mine.shape != theirs.shape:
            return None
        if not mine.size:
            continue
        mine, theirs = mine.astype(np.float64), theirs.astype(np.float64)
        # Logits may hold -inf for what is ruled out: alike on both sides, it is no difference.
        both = np.isfinite(mine) & np.isfinite(theirs)
        mine, theirs = np.where(both, mine, 0.0), np.where(both, theirs, 0.0)
        lengths = np.linalg.norm(mine, axis=1) * np.linalg.norm(theirs, axis=1)
        cosines.append(np.where(lengths > 0, (mine * theirs).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0))
        worst = max(worst, float(np.abs(mine - theirs).max()))
        same += int((mine.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    if not cosines:
        return None
    cosine = np.concatenate(cosines)
    return Parity(
        cosine=float(cosine.mean()),
        cosine_min=float(cosine.min()),
        max_abs_difference=worst,
        top1_agreement=same / len(cosine) if task.HAS_TOP1 and answers.size > 1 else None,
        count=len(cosine),
    )
