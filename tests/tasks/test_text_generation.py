"""Foretelling real text: windows, what is counted, and the metrics, on a tokenizer of single bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optibench.errors import OptibenchError
from optibench.tasks import text_generation as task
from optibench.values import Model
from tests.factories import model as model_ref


class Bytes:
    """A token a byte; 0 begins a text where ``bos`` says so."""

    def __init__(self, bos: int | None = None) -> None:
        self.bos_token_id = bos

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        return {"input_ids": list(text.encode())}

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode()


def model(**changes: Any) -> Model:
    return Model(ref=model_ref(task="text-generation"), path="", **{"config": {"vocab_size": 256}, **changes})


def rows(*texts: str) -> list[dict[str, str]]:
    return [{"text": text} for text in texts]


def test_a_long_text_is_judged_in_windows_that_hold_each_token_once() -> None:
    encoded = task.encode(rows("x" * 600, "yz"), Bytes(), model(), 0)
    lengths = [len(one["input_ids"]) for one in encoded.inputs]
    assert lengths == [256, 256, 88, 2]
    assert encoded.labels == [255.0, 255.0, 87.0, 1.0]  # the bytes that are foretold: not a window's first


def test_a_token_that_begins_texts_stands_before_each_window_and_then_all_of_it_is_foretold() -> None:
    encoded = task.encode(rows("x" * 300), Bytes(bos=0), model(max_length=128), 0)
    inputs = list(encoded.inputs)
    assert [len(one["input_ids"]) for one in inputs] == [128, 128, 47]
    assert all(one["input_ids"][0] == 0 for one in inputs)
    assert sum(encoded.labels) == 300


def test_a_text_of_one_token_that_nothing_comes_before_is_left_out() -> None:
    assert [len(one["input_ids"]) for one in task.encode(rows("a", "bc"), Bytes(), model(), 0).inputs] == [2]


def test_data_without_a_token_are_an_error_that_says_so() -> None:
    with pytest.raises(OptibenchError, match="makes no tokens"):
        task.encode(rows(""), Bytes(), model(), 0)


def answers(logits: np.ndarray, ids: list[list[int]], lengths: list[int]) -> np.ndarray:
    mask = np.array([[1] * length + [0] * (len(ids[0]) - length) for length in lengths])
    found = task.answers({"logits": logits}, {"input_ids": np.array(ids), "attention_mask": mask}, model())
    return task.predictions(found, None)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary() -> None:
    found = answers(np.zeros((2, 4, 64), np.float32), [[1, 2, 3, 4], [5, 6, 7, 0]], [4, 3])
    assert task.perplexity(found[None], np.array([[3.0, 2.0]]))[0] == pytest.approx(64)
    assert task.bits_per_byte(found[None], np.array([[3.0, 2.0]]))[0] == pytest.approx(6)
    assert found[:, 2].tolist() == [3, 2]  # what only fills up a row is not counted


def test_a_model_that_knows_the_text_foretells_every_token() -> None:
    logits = np.full((1, 4, 8), -20.0, np.float32)
    for place, token in enumerate([2, 3, 4]):
        logits[0, place, token] = 20.0
    found = answers(logits, [[1, 2, 3, 4]], [4])
    assert task.next_token(found[None], np.array([[3.0]]))[0] == 1
    assert task.perplexity(found[None], np.array([[3.0]]))[0] == pytest.approx(1)
    wrong = answers(logits, [[1, 2, 3, 5]], [4])
    assert task.next_token(wrong[None], np.array([[3.0]]))[0] == pytest.approx(2 / 3)


def test_prompts_leave_room_for_what_is_generated() -> None:
    found = task.prompts(rows("a text of some length", "and another one"), Bytes(bos=0), model(max_length=24), 10)
    assert len(found) == task.PROMPTS
    assert {one["input_ids"].shape[1] for one in found} == {5, 9, 14}
    assert len({one["input_ids"].tobytes() for one in found}) > 10


@pytest.mark.parametrize(
    ("config", "expected"),
    [({"vocab_size": 32}, 16), ({"vocab_size": 262_144}, 1), ({"text_config": {"vocab_size": 32_000}}, 4), ({}, 1)],
)
def test_a_batch_of_logits_fits_in_memory_whatever_the_vocabulary(config: dict[str, Any], expected: int) -> None:
    assert task.batch_rows(model(config=config)) == expected
