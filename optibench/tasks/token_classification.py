"""Token classification: a tag for each word of a sentence (names, parts of speech); F1 over entities, by seqeval.

A word is tagged by its first token. Words that the model's positions cut off count as tagged O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import OptibenchError
from optibench.spool import numbered
from optibench.tasks.base import Encoded, first_output, with_offsets
from optibench.tasks.labels import label_indices

if TYPE_CHECKING:
    import numpy

    from optibench.values import Model

AUTO_CLASS = "AutoModelForTokenClassification"
COLUMNS = {
    "tokens": ("tokens", "words", "text", "sentence"),
    "tags?": ("tags", "ner_tags", "labels", "label", "pos_tags", "chunk_tags"),
}
WHOLE = ("tokens", "tags")
HAS_TOP1 = True
OUTSIDE = "O"


def row_of(text: str) -> dict[str, Any]:
    """A plain text's words."""
    return {"tokens": text.split()}


def encode(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, seed: int) -> Encoded:
    """One input a sentence, ``_words`` marking each word's first token; true tags become the model's own names."""
    tags = _tags(rows, model.labels)
    sentences: list[dict[str, Any]] = []
    return Encoded(
        inputs=_marked(rows, tokenizer, min(model.max_length or 512, 512), tags, sentences),
        labels=[float(len(_entities(mine))) for mine in tags],
        truths={"names": list(model.labels), "sentences": sentences},
    )


def _marked(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    most: int,
    tags: Sequence[list[str]],
    sentences: list[dict[str, Any]],
) -> Iterator[dict[str, numpy.ndarray]]:
    """The sentences' inputs; what answers are judged by goes to ``sentences``."""
    import numpy as np

    for place, (number, row) in enumerate(numbered(rows)):
        words = _listed(row["tokens"], "tokens", number)
        encoded = with_offsets(tokenizer, "words cannot be tagged", " ".join(words), max_length=most)
        marks, which = _first_tokens(words, encoded.pop("offset_mapping"))
        sentences.append({"count": len(words), "which": which})
        if tags:
            mine = sentences[-1]["tags"] = tags[place]
            if len(mine) != len(words):
                raise OptibenchError(
                    f"Row {number} has {len(words)} tokens and {len(mine)} tags; every token needs one tag."
                )
        yield {name: np.asarray(values, np.int64) for name, values in encoded.items()} | {"_words": marks}


def _tags(rows: Sequence[Mapping[str, Any]], known: Sequence[str]) -> list[list[str]]:
    """Every row's tags by the model's names (by number where it has none); [] where the rows have no tags."""
    listed = [_listed(row["tags"], "tags", number) for number, row in numbered(rows) if "tags" in row]
    indices = iter(label_indices([tag for tags in listed for tag in tags], known))
    return [[_name(int(next(indices)), known) for _ in tags] for tags in listed]


def _name(index: int, known: Sequence[str]) -> str:
    return known[index] if known else str(index)


def _listed(value: Any, role: str, number: int) -> list[Any]:
    """A list, or the words of a text. Error: anything else."""
    found = value.split() if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not found:
        what = "an empty list" if isinstance(found, list | tuple) else "no list"
        raise OptibenchError(
            f"Row {number} holds {what} as {role}. Give lists (.jsonl, .parquet) or words divided by spaces; leave "
            "empty rows out."
        )
    return [str(one) for one in found] if role == "tokens" else list(found)


def _first_tokens(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[numpy.ndarray, list[int]]:
    """Which tokens are the first of a word, as 0 and 1; and which words those are. By the characters that a token
    stands for: it needs no tokenizer that takes words, and is how the model reads running text."""
    import numpy as np

    places, start = [], 0
    for text in words:
        places.append((start, start + len(text)))
        start += len(text) + 1
    which: list[int] = []
    marks, word = np.zeros(len(offsets), np.int64), 0
    for token, (begin, end) in enumerate(offsets):
        while word < len(places) and places[word][1] <= begin:
            word += 1
        if word < len(places) and begin < end and end > places[word][0] and (not which or which[-1] != word):
            marks[token] = 1
            which.append(word)
    return marks, which


def answers(
    outputs: Mapping[str, numpy.ndarray], inputs: Mapping[str, numpy.ndarray], model: Model
) -> list[numpy.ndarray]:
    """The logits at each word's first token."""
    import numpy as np

    logits = np.asarray(first_output(outputs, "logits"), np.float32)
    if "_words" not in inputs:
        return list(logits)
    return [row[marks > 0] for row, marks in zip(logits, inputs["_words"], strict=True)]


def predictions(answers: Sequence[numpy.ndarray], labels: Mapping[str, Any]) -> numpy.ndarray:
    """A sentence's entities: how many were found that are true, and how many were found."""
    import numpy as np

    found = []
    for logits, sentence in zip(answers, labels["sentences"], strict=True):
        tags = [OUTSIDE] * sentence["count"]
        for word, index in zip(sentence["which"], logits.argmax(axis=1), strict=True):
            tags[word] = _name(int(index), labels["names"])
        mine, true = _entities(tags), _entities(sentence["tags"])
        found.append((len(mine & true), len(mine)))
    return np.array(found, float).reshape(-1, 2)


def _entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    try:
        from seqeval.metrics.sequence_labeling import get_entities
    except ImportError as error:
        raise OptibenchError("Scoring tags needs the package seqeval: pip install 'optibench[tasks]'") from error
    return set(get_entities(list(tags)))


def f1(predictions: numpy.ndarray, labels: numpy.ndarray) -> numpy.ndarray:
    """F1 over all entities (seqeval's default, micro); 0 where there is none at all."""
    import numpy as np

    right, found = predictions[..., 0].sum(axis=1), predictions[..., 1].sum(axis=1)
    total = found + labels.sum(axis=1)
    result: numpy.ndarray = np.where(total > 0, 2 * right / np.maximum(total, 1), 0.0)
    return result


METRICS = {"f1": f1}
