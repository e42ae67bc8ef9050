"""Extractive question answering: the span of a context that answers a question; exact match and F1 as SQuAD has them.

A context that is longer than the model's positions is read in windows that overlap, and the best span of all counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.spool import Spool, numbered
from optibench.tasks.base import Encoded, first_output, with_offsets
from optibench.tasks.ranking import column

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModelForQuestionAnswering"
COLUMNS = {
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "text"),
    "answers?": ("answers", "answer", "label"),
}
WHOLE = ("answers",)
HAS_TOP1 = False
LONGEST_WINDOW = 384
LONGEST_ANSWER = 30
SHORTEST_WINDOW = 16
"""Tokens of a window and of an answer: those of the SQuAD examples that such models were trained by. In less than the
shortest window there is no room for a question and a context."""


def row_of(text: str) -> dict[str, Any]:
    """A plain text as context, and its first words as the question."""
    return {"question": " ".join(text.split()[:8]) + "?", "context": text}


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a window, ``_context`` marking the tokens that may be in an answer, and the first token (no answer)."""
    length = max(SHORTEST_WINDOW, min(model.max_length or LONGEST_WINDOW, LONGEST_WINDOW))
    labels: list[float] = []
    truths: Spool[dict[str, Any]] = Spool()
    return Encoded(inputs=_windows(rows, tokenizer, length, labels, truths), labels=labels, truths=truths)


def _windows(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    length: int,
    labels: list[float],
    truths: Spool[dict[str, Any]],
) -> Iterator[dict[str, numpy.ndarray]]:
    """The windows' inputs; what answers are judged by goes to ``labels`` and ``truths``."""
    import numpy as np

    for number, row in numbered(rows):
        # A question so long that no room is left is cut too, as every tokenizer does on its own.
        question = _cut(tokenizer, str(row["question"]), length // 4)
        encoded = with_offsets(
            tokenizer,
            "no answer can be read off",
            question,
            str(row["context"]),
            truncation="only_second",
            max_length=length,
            stride=min(128, length // 4),
            return_overflowing_tokens=True,
        )
        windows = []
        for window, offsets in enumerate(encoded["offset_mapping"]):
            second = [place == 1 for place in encoded.sequence_ids(window)]
            marks = np.asarray([1, *second[1:]], np.int64)
            windows.append([offsets[token] if second[token] else None for token in np.flatnonzero(marks)])
            arrays = {
                name: np.asarray(values[window], np.int64)
                for name, values in encoded.items()
                if name not in ("offset_mapping", "overflow_to_sample_mapping")
            }
            yield arrays | {"_context": marks}
        truth: dict[str, Any] = {"context": str(row["context"]), "windows": windows}
        if "answers" in row:
            truth["answers"] = _texts(row["answers"], number)
            labels.append(float(len(truth["answers"])))
        truths.append(truth)


def _cut(tokenizer: Any, question: str, most: int) -> str:
    offsets = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return question if len(offsets) <= most else question[: offsets[most - 1][1]]


def _texts(value: Any, number: int) -> list[str]:
    """The right answers: SQuAD's ``{"text": [...]}``, a list of texts, or one text; none where nothing answers."""
    found = value.get("text") if isinstance(value, Mapping) else value
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise OptibenchError(f"Row {number} holds no text, list of texts or SQuAD's object as answers.")
    return list(found)


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """Each marked token's two logits: that the answer begins there, and that it ends there."""
    import numpy as np

    start = np.asarray(first_output(outputs, "start_logits"), np.float32)
    end = np.asarray(outputs["end_logits"] if "end_logits" in outputs else list(outputs.values())[1], np.float32)
    both = np.stack([start, end], axis=-1)
    marks = inputs.get("_context", np.ones(start.shape, np.int64))
    return [row[mark > 0] for row, mark in zip(both, marks, strict=True)]


def predictions(answers: Sequence[numpy.ndarray], labels: Iterable[Mapping[str, Any]]) -> numpy.ndarray:
    """Exact match and F1 of each question, the best over its right answers."""
    import numpy as np

    unanswered = any(not truth["answers"] for truth in labels)  # as in SQuAD 2: no answer is an answer
    found, place = [], 0
    for truth in labels:
        logits = answers[place : place + len(truth["windows"])]
        place += len(truth["windows"])
        mine = best_span(logits, truth["windows"], truth["context"], unanswered)
        scores = [(float(_plain(mine) == _plain(right)), f1_of(mine, right)) for right in truth["answers"] or [""]]
        found.append((max(exact for exact, _ in scores), max(f1 for _, f1 in scores)))
    return np.array(found, float).reshape(-1, 2)


def best_span(
    logits: Sequence[numpy.ndarray],
    windows: Sequence[Sequence[Sequence[int] | None]],
    context: str,
    unanswered: bool = False,
) -> str:
    """The text of the span whose begin and end have the largest sum of logits over all windows; "" where none beats
    the first token, if that may be (``unanswered``). ``windows`` has each token's place in the context."""
    import numpy as np

    best, text = -np.inf, ""
    for both, places in zip(logits, windows, strict=True):
        tokens = [token for token, place in enumerate(places) if place is not None]
        if not tokens:
            continue
        total = both[tokens, 0][:, None] + both[tokens, 1][None]
        allowed = np.triu(np.ones(total.shape, bool)) & ~np.triu(np.ones(total.shape, bool), LONGEST_ANSWER)
        total = np.where(allowed, total, -np.inf)
        first, last = np.unravel_index(int(total.argmax()), total.shape)
        if total[first, last] > best:
            begin, end = places[tokens[first]], places[tokens[last]]
            assert begin is not None, "only tokens of the context are looked at"
            assert end is not None, "only tokens of the context are looked at"
            best, text = float(total[first, last]), context[begin[0] : end[1]]
    none = min(float(both[0].sum()) for both in logits)
    return "" if unanswered and none > best else text


def _plain(text: str) -> str:
    """As SQuAD's own script compares answers: without case, punctuation, articles and double spaces."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def f1_of(mine: str, right: str) -> float:
    """F1 over the words of two answers (Rajpurkar et al., 2016); two empty ones are alike."""
    one, other = _plain(mine).split(), _plain(right).split()
    if not one or not other:
        return float(one == other)
    common = sum((Counter(one) & Counter(other)).values())
    return 2 * common / (len(one) + len(other))


METRICS = {"f1": column(1), "exact_match": column(0)}
