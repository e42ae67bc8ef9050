"""What translation and summarization share: a text goes in, a model with an encoder writes another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optibench import generation_rules
from optibench.spool import numbered
from optibench.tasks.base import Encoded
from optibench.tasks.written import speller, text_in
from optibench.values import Model

LONGEST = 1024
"""Tokens of a text that are read, where the model has as many positions: those of BART, Pegasus and their data sets."""


def encoded(rows: Sequence[Mapping[str, Any]], tokenizer: Any, model: Model, source: str, target: str) -> Encoded:
    """One input a row, after the prefix that the model's config gives the task. ``labels`` has a 1 for each row that
    has a ``target``; ``truths``: what spells tokens, and the right texts."""
    import numpy as np

    prefix = str(generation_rules.of_task(model).get("prefix") or "")
    most = min(model.max_length or LONGEST, LONGEST)
    inputs = []
    for number, row in numbered(rows):
        tokens = tokenizer(prefix + text_in(row, source, number), truncation=True, max_length=most)
        inputs.append({name: np.asarray(values, np.int64) for name, values in tokens.items()})
    right = [text_in(row, target, number).strip() for number, row in numbered(rows) if target in row]
    return Encoded(
        inputs=inputs,
        labels=[1.0] * len(right),
        truths={"spelt": speller(tokenizer), "texts": right},
        shared=generation_rules.arrays_of(generation_rules.rules_of(model)),
    )
