"""Pictures and sounds as data hold them: odd modes, other rates, stereo, and files that are none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from optibench import data, media
from optibench.errors import OptibenchError

ROLES = {"image": ("image",), "label": ("label",)}


def png(mode: str, value: Any = 200) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (8, 6), value).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [
        ("L", 200, (200, 200, 200)),
        ("LA", (200, 0), (200, 200, 200)),
        ("RGBA", (10, 20, 30, 0), (10, 20, 30)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("1", 1, (255, 255, 255)),
        ("P", 0, (0, 0, 0)),
        ("I;16", 200 << 8, (200, 200, 200)),
    ],
)
def test_every_mode_becomes_three_channels(mode: str, value: Any, wanted: tuple[int, ...]) -> None:
    image = media.picture(media.Media(png(mode, value), "row 1"))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == wanted


def test_a_model_of_one_channel_gets_one() -> None:
    assert media.picture(media.Media(png("RGB", (9, 9, 9)), "row 1"), channels=1).mode == "L"


@pytest.mark.parametrize("content", [b"", b"no picture at all", png("RGB", (1, 2, 3))[:40]])
def test_a_picture_that_does_not_decode_names_its_row(content: bytes) -> None:
    with pytest.raises(OptibenchError, match="picture of row 7 cannot be decoded"):
        media.picture(media.Media(content, "row 7"))


def test_the_camera_says_which_side_is_up() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("RGB", (8, 6)).save(stream, "JPEG", exif=exif)
    assert media.picture(media.Media(stream.getvalue(), "row 1")).size == (6, 8)


def wav(samples: np.ndarray, rate: int) -> bytes:
    import soundfile

    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


def test_another_rate_is_resampled_and_keeps_its_pitch() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32)
    found = media.wave(media.Media(wav(tone, 44_100), "row 1"), 16_000)
    assert found.dtype == np.float32
    assert len(found) == 16_000
    assert np.argmax(np.abs(np.fft.rfft(found))) == 440


def test_stereo_is_mixed_down() -> None:
    sides = np.stack([np.full(100, 0.5), np.full(100, -0.1)], axis=1).astype(np.float32)
    np.testing.assert_allclose(media.wave(media.Media(wav(sides, 16_000), "row 1"), 16_000), 0.2, atol=1e-6)


# Named, for a header holds the time at which it was written, and tests are told apart by their names.
@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF....WAVE", wav(np.zeros(0, np.float32), 16_000)],
    ids=["nothing", "half a header", "no samples"],
)
def test_a_sound_that_is_none_names_its_row(content: bytes) -> None:
    with pytest.raises(OptibenchError, match="sound of row 3"):
        media.wave(media.Media(content, "row 3"), 16_000)


def test_stand_ins_are_the_same_each_time_and_differ_from_each_other() -> None:
    one, other = media.stand_ins("image", 2)
    assert np.array_equal(np.asarray(media.picture(one)), np.asarray(media.picture(one)))
    assert not np.array_equal(np.asarray(media.picture(one)), np.asarray(media.picture(other)))
    assert str(one) != str(other)
    assert media.wave(one, 8_000).std() == pytest.approx(0.06, abs=0.03)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "1.png").write_bytes(png("L", len(label)))
    return tmp_path / "data"


def test_a_folder_of_folders_is_a_data_set(folder: Path) -> None:
    rows = data.rows(str(folder), ROLES, {})
    assert [row["label"] for row in rows] == ["cat", "dog"]
    assert all(media.picture(row["image"]).mode == "RGB" for row in rows)


def test_pictures_without_folders_have_no_labels(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    (found,) = data.rows(str(tmp_path), {"image": ("image",), "label?": ("label",)}, {})
    assert set(found) == {"image"}


def test_the_hubs_table_beside_pictures_names_them(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\nb.png,cat\n")
    (found,) = data.rows(str(tmp_path), {"image": ("file_name",), "label": ("label",)}, {})
    assert found["label"] == "cat"


def test_a_folder_of_splits_names_one_of_them(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "train" / "cat" / "b.png")
    with pytest.raises(OptibenchError, match=r"one level down: give one of them, such as .*train"):
        data.rows(str(tmp_path), {"image": ("image",), "label": ("label",)}, {})


@pytest.mark.parametrize("white", [np.int32(65535), np.float32(1), np.float32(65535)])
def test_a_picture_whose_white_is_not_told_is_refused(tmp_path: Path, white: Any) -> None:
    Image.fromarray(np.full((4, 4), white)).save(tmp_path / "a.tif")
    with pytest.raises(OptibenchError, match="32 bits a pixel"):
        media.picture(media.Media(tmp_path / "a.tif", "row 1"))


def test_paths_in_a_table_go_from_the_table(folder: Path) -> None:
    (folder / "list.csv").write_text("image,label\ncat/1.png,cat\n")
    (row,) = data.rows(str(folder / "list.csv"), ROLES, {})
    assert media.picture(row["image"]).size == (8, 6)


def test_a_file_that_is_not_there_names_its_row(folder: Path) -> None:
    (folder / "list.csv").write_text("image,label\ncat/2.png,cat\n")
    with pytest.raises(OptibenchError, match=r"Row 1 names the image cat/2\.png, which is not there"):
        data.rows(str(folder / "list.csv"), ROLES, {})


def test_an_address_is_not_fetched_and_that_is_said(folder: Path) -> None:
    (folder / "list.csv").write_text("image,label\nhttps://example.com/2.png,cat\n")
    with pytest.raises(OptibenchError, match="Nothing is fetched from addresses: download it"):
        data.rows(str(folder / "list.csv"), ROLES, {})


def test_bytes_in_parquet_are_read_as_the_hub_writes_them(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"image": {"bytes": png("L"), "path": None}, "label": 1}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (row,) = data.rows(str(tmp_path / "a.parquet"), ROLES, {})
    assert media.picture(row["image"]).size == (8, 6)


def test_the_data_sets_digest_is_that_of_the_contents(folder: Path) -> None:
    before = data.reference("a", data.rows(str(folder), ROLES, {})).sha256
    assert data.reference("a", data.rows(str(folder), ROLES, {})).sha256 == before
    (folder / "cat" / "1.png").write_bytes(png("L", 77))
    assert data.reference("a", data.rows(str(folder), ROLES, {})).sha256 != before


def test_equal_pictures_never_both_judge_and_calibrate(folder: Path) -> None:
    rows = [{"image": media.Media(png("L", n % 3), f"row {n}"), "label": "cat"} for n in range(200)]
    evaluation, calibration = data.split(rows, None, 0)
    assert not {str(row["image"]) for row in evaluation} & {str(row["image"]) for row in calibration}
