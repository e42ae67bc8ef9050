"""What a user says of a graph's inputs, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench.errors import OptibenchError
from optibench.given import arrays_from_file
from optibench.signature import Input, fixed_sizes, given, inputs_for
from optibench.values import Shape

MEL = Input(name="mel", kind="float32", shape=(None, 80, None), symbols=("batch", "", "frames"))
STATE = Input(name="h0", kind="float32", shape=(2, None, 16), symbols=("", "batch", ""))
IDS = Input(name="ids", kind="int64", shape=(None, None), symbols=("batch", "tokens"))
PAST = Input(name="past", kind="float32", shape=(None, 4, None, 8), symbols=("batch", "", "past", ""))


def made(signature: list[Input], shapes: dict[str, str], batch: int = 1, length: int = 7) -> dict[str, Any]:
    found = inputs_for(given(signature, shapes, None), Shape(batch=batch, length=length), 0)
    return {name: array.shape for name, array in found.items()}


def test_a_shape_that_is_given_is_made() -> None:
    assert made([MEL], {"mel": "2x80x3000:float32"}) == {"mel": (2, 80, 3000)}


def test_a_question_mark_leaves_the_axis_to_batch_and_length() -> None:
    assert made([MEL], {"mel": "?x80x30"}, batch=4) == {"mel": (4, 80, 30)}


def test_a_states_batch_goes_by_the_name_of_its_axis() -> None:
    assert made([IDS, STATE], {}, batch=3) == {"ids": (3, 7), "h0": (2, 3, 16)}


def test_a_batch_that_is_given_for_one_input_holds_for_all() -> None:
    signature = given([MEL, IDS, STATE], {"mel": "2x80x30"}, None)
    assert fixed_sizes(signature).batch is None or fixed_sizes(signature).batch == 2
    assert made([MEL, IDS, STATE], {"mel": "2x80x30"}) == {"mel": (2, 80, 30), "ids": (2, 7), "h0": (2, 2, 16)}


def test_what_cannot_be_guessed_is_named_with_the_option_that_says_it() -> None:
    with pytest.raises(OptibenchError) as caught:
        made([IDS, PAST], {})
    for word in ("'past'", "axis 2", "--input past=1x4x64x8:float32", "--inputs file.npz", "ids (int64, ?x?)"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"mal": "1x80x10"}, "Did you mean mel"),
        ({"mel": "1x81x10"}, "has the shape ?x80x?"),
        ({"mel": "1x80"}, "has the shape ?x80x?"),
        ({"mel": "1x80xlong"}, "is no shape"),
        ({"mel": "0x80x10"}, "every input needs a row"),
        ({"mel": "99999x80x99999"}, "at most"),
        ({"mel": "1x80x10:int64"}, "of the type float32, not int64"),
        ({"mel": "2x80x10", "past": "3x4x5x8"}, "must agree"),
    ],
)
def test_a_shape_that_does_not_fit_the_graph_is_refused(shapes: dict[str, str], words: str) -> None:
    with pytest.raises(OptibenchError) as caught:
        given([MEL, PAST], shapes, None)
    assert words in str(caught.value)


def test_arrays_come_as_the_graph_takes_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.arange(6, dtype=np.int32).reshape(2, 3))
    found = arrays_from_file([IDS], str(tmp_path / "a.npz"))
    assert found["ids"].dtype == np.int64
    signature = given([IDS, STATE], {}, str(tmp_path / "a.npz"))
    assert inputs_for(signature, Shape(batch=1, length=3), 0)["h0"].shape == (2, 2, 16)  # of the file's batch


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"idz": np.ones((1, 2))}, "Did you mean ids"),
        ({"ids": np.ones((1, 2))}, "float64, where the graph takes int64"),
        ({"ids": np.ones((1, 2, 3), np.int64)}, "does not fit the graph"),
        ({}, "holds no arrays"),
        ({"ids": np.array([["a", "b"]])}, "where the graph takes int64"),
    ],
)
def test_arrays_that_do_not_fit_the_graph_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(OptibenchError) as caught:
        arrays_from_file([IDS], str(tmp_path / "a.npz"))
    assert words in str(caught.value)


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"nothing")
    np.save(tmp_path / "b.npy", np.ones(3))
    for name, words in (("a.npz", "cannot be read"), ("b.npy", "numpy.savez"), ("c.npz", "There is no file")):
        with pytest.raises(OptibenchError, match=words):
            arrays_from_file([IDS], str(tmp_path / name))
