"""Data and models as they come: odd pictures and sounds, texts of nothing, tokenizers that lack something."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Optibench, write_bert
from tests.tasks import zoo

QUICK = ("--backends", "onnxruntime", "--precisions", "fp32", "--rounds", "1", "--budget", "2s", "--quick")


def only_case(run: Path) -> dict[str, Any]:
    (found,) = [
        case for case in json.loads((run / "comparison.json").read_text())["cases"] if "onnxruntime" in case["case"]
    ]
    assert found["status"] == "ok", found["reason"]
    return found


def refusal(optibench: Optibench, *args: object, code: int = 2) -> str:
    done = optibench("compare", *args)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr + done.stdout


def odd_pictures(folder: Path) -> Iterator[str]:
    """One picture of each kind that is not three channels of eight bits."""
    from PIL import Image

    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 4)).astype(np.uint8)
    plain = Image.fromarray(pixels[..., :3])
    kinds = {
        "grey.png": plain.convert("L"),
        "alpha.png": Image.fromarray(pixels, "RGBA"),
        "grey-alpha.png": Image.fromarray(pixels[..., :2], "LA"),
        "palette.png": plain.convert("P"),
        "bits.png": plain.convert("1"),
        "deep.png": Image.fromarray(pixels[..., 0].astype(np.uint16) << 8),
        "print.jpg": plain.convert("CMYK"),
        "moving.gif": plain.convert("P"),
        "float.tiff": Image.fromarray(pixels[..., 0].astype(np.float32)),
    }
    for name, picture in kinds.items():
        picture.save(folder / name)
        yield name


@pytest.mark.slow
def test_pictures_of_every_mode_are_judged(optibench: Optibench, tmp_path: Path) -> None:
    model = zoo.write(tmp_path / "model", "ViT")
    names = list(odd_pictures(tmp_path / "data"))
    rows = "".join(f"{name},LABEL_{number % 7}\n" for number, name in enumerate(names))
    (tmp_path / "data" / "list.csv").write_text("image,label\n" + rows)
    run = tmp_path / "run"
    done = optibench("compare", model, "--dataset", tmp_path / "data" / "list.csv", "--out", run, *QUICK)
    assert done.returncode == 0, done.stderr
    assert only_case(run)["scores"][0]["count"] == len(names)


@pytest.mark.slow
def test_sounds_of_any_rate_and_number_of_channels_are_judged(optibench: Optibench, tmp_path: Path) -> None:
    import soundfile

    model = zoo.write(tmp_path / "model", "HuBERT")
    rng = np.random.default_rng(0)
    lines = ["audio,label"]
    for number, (rate, channels, kind) in enumerate([(8_000, 1, "wav"), (44_100, 2, "wav"), (48_000, 6, "flac")]):
        soundfile.write(tmp_path / f"{number}.{kind}", 0.1 * rng.standard_normal((rate, channels)), rate)
        lines.append(f"{number}.{kind},LABEL_{number}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    run = tmp_path / "run"
    done = optibench("compare", model, "--dataset", tmp_path / "list.csv", "--length", "16000", "--out", run, *QUICK)
    assert done.returncode == 0, done.stderr
    assert only_case(run)["scores"][0]["count"] == 3


@pytest.mark.slow
def test_masks_judge_every_pixel(optibench: Optibench, tmp_path: Path) -> None:
    from PIL import Image

    model = zoo.write(tmp_path / "model", "SegFormer")
    rng = np.random.default_rng(0)
    lines = ["image,mask"]
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (50, 70, 3)).astype(np.uint8)).save(tmp_path / f"{number}.jpg")
        Image.fromarray(rng.integers(0, 7, (50, 70)).astype(np.uint8)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.jpg,{number}.png")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    run = tmp_path / "run"
    done = optibench("compare", model, "--dataset", tmp_path / "list.csv", "--out", run, *QUICK)
    assert done.returncode == 0, done.stderr
    found = only_case(run)
    assert [(one["metric"], one["count"]) for one in found["scores"]] == [("miou", 4), ("pixel_accuracy", 4)]
    assert 0 < found["scores"][0]["value"] < 0.3  # random weights against random masks of seven classes
    assert found["scores"][1]["change"]["mid"] == pytest.approx(0, abs=0.01)
    assert found["parity"]["cosine_min"] > 0.999


@pytest.mark.slow
def test_boxes_of_a_coco_file_judge(optibench: Optibench, tmp_path: Path) -> None:
    from PIL import Image

    model = zoo.write(tmp_path / "model", "YOLOS")
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (50, 70, 3)).astype(np.uint8)).save(tmp_path / f"{number}.jpg")
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(4)],
        "annotations": [
            {"id": 4 * image + one, "image_id": image, "category_id": one, "bbox": [5 * one, 5, 30, 30]}
            for image in range(3)
            for one in range(4)
        ],
        "categories": [{"id": number, "name": f"LABEL_{number}"} for number in range(7)],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    run = tmp_path / "run"
    done = optibench("compare", model, "--dataset", tmp_path / "instances.json", "--out", run, *QUICK)
    assert done.returncode == 0, done.stderr
    found = only_case(run)
    assert [(one["metric"], one["count"]) for one in found["scores"]] == [("map", 4), ("map@50", 4)]
    assert found["scores"][0]["change"]["mid"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,label\ngood film,good\n,bad\n", "Row 2 of the data set"),
        ('text,label\ngood film,good\n"   ",bad\n', "Row 2 of the data set"),
    ],
)
def test_a_text_of_nothing_names_its_row(
    optibench: Optibench, tiny_classifier: Path, tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "data.csv").write_text(content)
    assert words in refusal(optibench, tiny_classifier, "--dataset", tmp_path / "data.csv", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def copy(tiny_classifier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_classifier, tmp_path / "model"))


def test_a_model_without_a_tokenizer_says_what_to_put_beside_it(
    optibench: Optibench, copy: Path, reviews: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (copy / name).unlink(missing_ok=True)
    said = refusal(
        optibench, copy, "--dataset", reviews, "--columns", "text=review,label=verdict", "--out", tmp_path / "run"
    )
    assert "The tokenizer of model cannot be loaded" in said
    assert "Put tokenizer.json" in said


def without_padding(folder: Path) -> Path:
    """Takes the padding token from the tokenizer's files."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config = {key: value for key, value in config.items() if key != "pad_token"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    return folder


@pytest.mark.slow
def test_a_decoder_that_classifies_needs_no_padding_token_either(
    optibench: Optibench, reviews: Path, tmp_path: Path
) -> None:
    """transformers refuses such a model a batch of two: it reads its answer off the last token that is no padding."""
    import transformers

    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    folder = write_bert(tmp_path / "model", "BertModel")
    (folder / "model.safetensors").unlink()
    config = transformers.GPT2Config(
        vocab_size=200, n_embd=64, n_layer=2, n_head=2, n_positions=128, initializer_range=0.3, num_labels=2,
        id2label={0: "bad", 1: "good"}, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    transformers.GPT2ForSequenceClassification(config).save_pretrained(folder)
    without_padding(folder)
    options = ("--dataset", reviews, "--columns", "text=review,label=verdict", "--length", "16", "--limit", "40")
    done = optibench("compare", folder, *options, "--batch", "1,2", "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr
    found = [
        case
        for case in json.loads((tmp_path / "run" / "comparison.json").read_text())["cases"]
        if "onnxruntime" in case["case"]
    ]
    assert [case["status"] for case in found] == ["ok", "ok"], found[0]["reason"]
    assert found[0]["parity"]["cosine_min"] > 0.999
