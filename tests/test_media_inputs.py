"""Pictures and sounds as a worker gets them: by size, one at a time into the file, with what all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optibench import media, media_inputs
from optibench.arrays import batches_of, save
from optibench.errors import OptibenchError
from optibench.tasks import pictures, sounds, zero_shot_image_classification
from optibench.tasks.base import Pair
from optibench.values import Model, Shape
from tests import factories

MODEL = Model(ref=factories.model(), path="")


class Extractor:
    """Takes 8,000 samples a second, as they are."""

    sampling_rate = 8_000

    def __call__(self, wave: np.ndarray, sampling_rate: int, return_tensors: str) -> dict[str, np.ndarray]:
        assert sampling_rate == self.sampling_rate
        return {"input_values": wave[None]}


def sized(*lengths: int) -> list[dict[str, np.ndarray]]:
    return [{"input_values": np.full(length, length, np.float32)} for length in lengths]


def test_only_neighbours_of_one_size_share_a_batch_and_nothing_is_padded() -> None:
    found = [batch["input_values"].shape for batch in media_inputs._batches(sized(4, 4, 4, 6, 4), {}, 2)]
    assert found == [(2, 4), (1, 4), (1, 6), (1, 4)]


def test_what_is_shared_stands_beside_every_batch() -> None:
    texts = np.ones((3, 5), np.int64)
    for batch in media_inputs._batches(sized(4, 6), {"input_ids": texts}, 16):
        assert batch["input_ids"].shape == (3, 5)
        assert list(batch) == ["input_values", "input_ids"]  # rows are counted by the first


def test_batches_are_written_as_they_come(tmp_path: Path) -> None:
    alive = 0

    def made() -> Iterator[dict[str, np.ndarray]]:
        nonlocal alive
        for number in range(5):
            alive += 1
            yield {"x": np.full((2, 3), number, np.float32)}

    save(tmp_path / "a.npz", made())
    assert [int(batch["x"][0, 0]) for batch in batches_of(tmp_path / "a.npz")] == [0, 1, 2, 3, 4]
    assert alive == 5


def test_timed_sounds_have_the_samples_that_were_asked_for() -> None:
    rows = media_inputs._timed([{"audio": np.arange(1000.0)}], Shape(batch=3, length=700), 8_000)
    assert [len(row["audio"]) for row in rows] == [700, 700, 700]


def test_a_length_in_which_nothing_can_be_heard_is_refused_as_such() -> None:
    given = [{"audio": np.ones(16_000, np.float32)}]
    with pytest.raises(OptibenchError, match=r"--length 100 is 0\.0063 seconds of sound.*give 800 samples at least"):
        media_inputs._timed(given, Shape(batch=1, length=100), 16_000)


def test_sounds_calibrate_at_several_lengths_but_none_too_short() -> None:
    given = list(media_inputs._given([{"audio": media.Media(0, "synthetic")}], "sound", Extractor()))
    assert len({len(row["audio"]) for row in given}) == 3
    assert min(len(row["audio"]) for row in given) >= 4_000
    short = list(media.cuts(np.zeros(5_000), 4_000))
    assert [len(cut) for cut in short] == [5_000]


def test_a_sounds_row_becomes_the_extractors_arrays_at_its_rate() -> None:
    (one,) = sounds.encoded([{"audio": media.Media(1, "synthetic")}], Extractor())
    assert one["input_values"].shape == (media.STAND_IN_SECONDS * 8_000,)


def test_a_processors_own_complaint_names_the_picture() -> None:
    from optibench.errors import OptibenchError

    def processor(**_: object) -> None:
        raise ValueError("too small")

    with pytest.raises(OptibenchError, match="cannot take the picture of synthetic 4: ValueError: too small"):
        list(pictures.encoded([{"image": media.Media(4, "synthetic 4")}], processor, MODEL))


def test_every_picture_is_compared_with_all_labels_of_the_data() -> None:
    asked: list[str] = []

    def tokenizer(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        asked.extend(texts)
        return {"input_ids": [[1, 2]] * len(texts)}

    def processor(**_: object) -> dict[str, np.ndarray]:
        return {"pixel_values": np.zeros((1, 3, 4, 4), np.float32)}

    rows = [{"image": media.Media(n, f"{n}"), "label": label} for n, label in enumerate(("dog", "cat", "dog"))]
    encoded = zero_shot_image_classification.encode(rows, Pair(media=processor, tokenizer=tokenizer), MODEL, 0)
    assert asked == ["This is a photo of cat.", "This is a photo of dog."]
    assert encoded.labels == [1.0, 0.0, 1.0]
    assert encoded.shared["input_ids"].shape == (2, 2)
    assert len(list(encoded.inputs)) == 3


def test_a_sound_in_which_nothing_can_be_heard_names_its_row() -> None:
    with pytest.raises(OptibenchError, match=r"The sound of a row lasts 0\.0006 seconds"):
        list(sounds.encoded([{"audio": np.zeros(10, np.float32)}], SimpleNamespace(sampling_rate=16_000)))
