"""Masks and boxes: scores that are known by hand, those of the field's own libraries, and what a wrong row is told."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from optibench import boxes, data, media, score, stats
from optibench.answers import Answers
from optibench.errors import OptibenchError
from optibench.tasks import image_segmentation, object_detection
from optibench.values import Model
from tests import factories

MODEL = Model(ref=factories.model(), path="", labels=("sky", "road", "car"))


def encoded_picture(array: np.ndarray, mode: str | None = None) -> media.Media:
    stream = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(stream, "PNG")
    return media.Media(stream.getvalue(), "row 1")


def processor(**_: Any) -> dict[str, np.ndarray]:
    return {"pixel_values": np.zeros((1, 3, 8, 8), np.float32)}


# Masks


def segmented(found: np.ndarray, mask: np.ndarray, classes: int = 3) -> np.ndarray:
    """The answers to one picture whose pixels were found to be of these classes."""
    logits = np.eye(classes, dtype=np.float32)[found].transpose(2, 0, 1)
    (answer,) = image_segmentation.answers({"logits": logits[None]}, {"_mask": mask[None]}, MODEL)
    return answer


def scores(answers: Sequence[np.ndarray], labels: Sequence[float]) -> dict[str, float]:
    rows = [len(one) for one in answers]
    made = score.scores_of("image-segmentation", Answers.of(np.concatenate(answers), rows), labels)
    return {one.metric: one.value for one in made}


def test_intersection_over_union_is_what_is_counted_by_hand() -> None:
    """A 4x4 picture: three columns are road, of which two were found; the rest is sky. No car anywhere."""
    mask = np.array([[1, 1, 1, 0]] * 4, np.uint8)
    found = np.array([[1, 1, 0, 0]] * 4)
    made = scores([segmented(found, mask)], [16.0])
    assert made["miou"] == pytest.approx((4 / 8 + 8 / 12) / 2)
    assert made["pixel_accuracy"] == pytest.approx(12 / 16)
    mask[:, 2] = image_segmentation.IGNORED  # where it is wrong
    assert scores([segmented(found, mask)], [12.0])["miou"] == 1.0


def test_intersection_over_union_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import jaccard_score

    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (5, 8, 8)).astype(np.uint8)
    found = np.where(rng.random(masks.shape) < 0.6, masks, rng.integers(0, 3, masks.shape))
    made = scores([segmented(f, m) for f, m in zip(found, masks, strict=True)], [64.0] * 5)
    assert made["miou"] == pytest.approx(jaccard_score(masks.ravel(), found.ravel(), average="macro"))


def test_a_coarse_map_is_brought_to_the_masks_size_as_torch_does_it() -> None:
    import torch

    logits = np.random.default_rng(0).standard_normal((1, 3, 5, 7)).astype(np.float32)
    wanted = torch.nn.functional.interpolate(torch.as_tensor(logits), size=(131, 60), mode="bilinear").numpy()
    down, across = image_segmentation._resizing(5, 131), image_segmentation._resizing(7, 60)
    np.testing.assert_allclose(np.einsum("rh,bchw,sw->bcrs", down, logits, across), wanted, atol=1e-5)
    mask = wanted[0].argmax(axis=0).astype(np.uint8)  # in several strips
    (answer,) = image_segmentation.answers({"logits": logits}, {"_mask": mask[None]}, MODEL)
    assert answer[-3].sum() == mask.size


def test_counts_do_not_tell_how_near_two_builds_are() -> None:
    mask = np.zeros((4, 4), np.uint8)
    one, other = segmented(np.zeros((4, 4), int), mask), segmented(np.ones((4, 4), int), mask)
    assert not np.array_equal(one[-3:], other[-3:])
    answers = Answers.of(np.concatenate([one, other]), [len(one), len(other)])
    alike = score.compared("image-segmentation", answers).rows()
    assert alike.shape == (32, 3)
    assert alike.max() == 1.0


@pytest.mark.parametrize(
    ("reduced", "values", "wanted"), [(False, (0, 2, 255), [0, 2, 255]), (True, (0, 1, 3), [255, 0, 2])]
)
def test_a_masks_numbers_are_the_models_classes(reduced: bool, values: tuple[int, ...], wanted: list[int]) -> None:
    processing = (
        processor if not reduced else type("P", (), {"do_reduce_labels": True, "__call__": staticmethod(processor)})()
    )
    picture = encoded_picture(np.zeros((1, 3, 3), np.uint8))
    rows = [{"image": picture, "mask": encoded_picture(np.array([values], np.uint8))}]
    encoded = image_segmentation.encode(rows, processing, MODEL, 0)
    (one,) = encoded.inputs
    assert one["_mask"].tolist() == [wanted]
    assert encoded.labels == [float(sum(value != 255 for value in wanted))]


def test_a_mask_of_classes_that_the_model_lacks_names_both() -> None:
    rows = [
        {"image": encoded_picture(np.zeros((2, 2, 3), np.uint8)), "mask": encoded_picture(np.full((2, 2), 7, np.uint8))}
    ]
    with pytest.raises(OptibenchError, match=r"mask of row 1 has the classes 7, .*it has 3 \(sky, road, car\)"):
        image_segmentation.encode(rows, processor, MODEL, 0)


def test_a_mask_in_colours_says_how_to_save_it() -> None:
    with pytest.raises(OptibenchError, match=r"mask of row 1 has colours \(RGB\)"):
        media.classes_of_pixels(encoded_picture(np.zeros((2, 2, 3), np.uint8)))
    indexed = encoded_picture(np.zeros((2, 2, 3), np.uint8), "P")
    assert media.classes_of_pixels(indexed).shape == (2, 2)


def test_masks_are_found_from_the_table_and_judge_nothing_that_calibrates(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (6, 4)).save(tmp_path / f"{number}.jpg")
        Image.new("L", (6, 4), number).save(tmp_path / f"{number}.png")
    (tmp_path / "list.csv").write_text("image,mask\n0.jpg,0.png\n1.jpg,1.png\n")
    rows = data.rows(str(tmp_path / "list.csv"), image_segmentation.COLUMNS, {})
    assert [int(media.classes_of_pixels(row["mask"])[0, 0]) for row in rows] == [0, 1]
    assert data.given(rows[0]) == data.given(rows[1])  # equal pictures, whatever their masks


# Boxes

Box = tuple[float, float, float, float]
Found = list[tuple[int, float, Box]]


def truth(*boxes: tuple[int, Box], crowd: Sequence[int] = ()) -> dict[str, Any]:
    return {
        "boxes": [box for _, box in boxes],
        "classes": [index for index, _ in boxes],
        "crowd": list(crowd) or [0] * len(boxes),
    }


def answer(found: Found, classes: int = 3) -> np.ndarray:
    """Queries of a model whose classes are yes or no, so that a score is what was meant."""
    rows = []
    for index, share, (x, y, w, h) in found:
        logits = np.full(classes, -800.0)  # no share at all
        logits[index] = np.log(share / (1 - share))
        rows.append([*logits, x + w / 2, y + h / 2, w, h])
    return np.array(rows, np.float64).reshape(-1, classes + 4)


def detected(found: list[Found], truths: list[dict[str, Any]]) -> np.ndarray:
    return object_detection.predictions([answer(one) for one in found], {"labels": 3, "pictures": truths})


def values(predictions: np.ndarray) -> dict[str, float]:
    labels = np.zeros((1, len(predictions)))
    return {name: float(metric(predictions[None], labels)[0]) for name, metric in object_detection.METRICS.items()}


A, B, ELSEWHERE = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.2, 0.3), (0.4, 0.1, 0.1, 0.1)


def test_average_precision_is_what_is_counted_by_hand() -> None:
    """Two cars; the surest box is one, the second is nothing, the third is the other: precision is 1 up to a recall of
    a half and 2/3 from there, on 51 and 50 of COCO's 101 levels."""
    found: Found = [(2, 0.9, A), (2, 0.8, ELSEWHERE), (2, 0.7, B)]
    made = values(detected([found], [truth((2, A), (2, B))]))
    assert made["map"] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert made["map@50"] == pytest.approx(made["map"])


def test_a_box_that_is_half_off_counts_at_the_lower_thresholds() -> None:
    """Moved by a quarter of its width, it overlaps by 3/5: right at .50, .55 and .60 of ten thresholds."""
    moved = (A[0] + A[2] / 4, *A[1:])
    made = values(detected([[(0, 0.9, moved)]], [truth((0, A))]))
    assert made["map@50"] == pytest.approx(1.0)
    assert made["map"] == pytest.approx(0.3)


def test_what_lies_in_a_crowd_is_neither_right_nor_wrong() -> None:
    found: Found = [(0, 0.9, (0.62, 0.62, 0.1, 0.1)), (0, 0.5, A)]
    assert values(detected([found], [truth((0, A), (0, B), crowd=(0, 1))]))["map"] == pytest.approx(1.0)


def test_nothing_found_is_0_and_no_truth_is_0() -> None:
    assert values(detected([[]], [truth((0, A))])) == {"map": 0.0, "map@50": 0.0}
    assert values(detected([[(0, 0.9, A)]], [truth()])) == {"map": 0.0, "map@50": 0.0}


def scene(seed: int, pictures: int = 12) -> tuple[list[Found], list[dict[str, Any]]]:
    """Pictures of several objects, boxes near them and boxes that are nowhere; one picture in three has a crowd."""
    rng = np.random.default_rng(seed)
    found, truths = [], []
    for number in range(pictures):
        boxes = [(int(rng.integers(3)), tuple(rng.uniform(0.05, 0.45, 4))) for _ in range(int(rng.integers(0, 5)))]
        crowd = [int(number % 3 == 0 and index == 0) for index in range(len(boxes))]
        truths.append(truth(*boxes, crowd=crowd))
        near = [(index, tuple(np.array(box) + rng.normal(0, 0.02, 4))) for index, box in boxes]
        others = [(int(rng.integers(3)), tuple(rng.uniform(0.05, 0.4, 4))) for _ in range(3)]
        found.append([(index, float(rng.uniform(0.05, 0.95)), box) for index, box in (*near, *others)])
    return found, truths


def cocos(found: Sequence[Found], truths: Sequence[dict[str, Any]]) -> float:
    """pycocotools' own figure, from the first step to the last."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    true = [
        {"image_id": n, "category_id": i, "bbox": list(box), "area": box[2] * box[3], "iscrowd": crowd}
        for n, one in enumerate(truths)
        for i, box, crowd in zip(one["classes"], one["boxes"], one["crowd"], strict=True)
    ]
    mine = [
        {"image_id": n, "category_id": i, "score": s, "bbox": list(box)}
        for n, one in enumerate(found)
        for i, s, box in one
    ]
    coco.dataset = {
        "images": [{"id": n} for n in range(len(truths))],
        "annotations": [{**one, "id": n} for n, one in enumerate(true, 1)],
        "categories": [{"id": i} for i in range(3)],
    }
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(mine), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize("seed", range(6))
def test_the_mean_average_precision_is_that_of_pycocotools(seed: int) -> None:
    found, truths = scene(seed)
    assert values(detected(found, truths))["map"] == pytest.approx(cocos(found, truths), abs=1e-9)


def test_a_resample_has_the_score_of_the_pictures_in_it() -> None:
    found, truths = scene(7)
    predictions = detected(found, truths)
    for index in np.random.default_rng(0).integers(0, len(found), (5, len(found))):
        made = object_detection.METRICS["map"](predictions[None, index], np.zeros((1, len(found))))[0]
        assert made == pytest.approx(cocos([found[i] for i in index], [truths[i] for i in index]), abs=1e-9)


def test_a_change_has_an_interval_that_holds_it() -> None:
    found, truths = scene(3, pictures=40)
    spoilt = [[(i, s, (box[0] + 0.03, *box[1:])) for i, s, box in one] for one in found]
    before, after = detected(found, truths), detected(spoilt, truths)
    low, mid, high = stats.paired_change(object_detection.METRICS["map"], after, before, np.zeros(40))
    assert low < mid < high < 0


def test_a_model_with_a_class_for_nothing_gives_each_query_its_likeliest_class() -> None:
    logits = np.array([[2.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 9.0]])
    made = object_detection._found(np.concatenate([logits, np.full((2, 4), 0.5)], axis=1), classes=3)
    assert [index for index, _, _ in made] == [0, 1]
    assert made[0][1] == pytest.approx(np.exp(2) / (np.exp(2) + 2 + np.e))
    assert made[0][2] == [0.25, 0.25, 0.5, 0.5]


def coco_file(folder: Path, category: str = "car") -> Path:
    Image.new("RGB", (20, 10)).save(folder / "a.png")
    Image.new("RGB", (10, 10)).save(folder / "b.png")
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 2, 10, 4], "iscrowd": 0}],
        "categories": [{"id": 3, "name": category}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def boxes_of(path: Path) -> list[dict[str, Any]]:
    rows = data.rows(str(path), object_detection.COLUMNS, {}, object_detection.WHOLE)
    found: list[dict[str, Any]] = object_detection.encode(rows, processor, MODEL, 0).truths["pictures"]
    return found


def test_a_coco_file_is_a_data_set_and_pictures_without_objects_count(tmp_path: Path) -> None:
    one, other = boxes_of(coco_file(tmp_path))
    assert one == {"boxes": [[0.25, 0.2, 0.5, 0.4]], "classes": [2], "crowd": [0]}
    assert other["boxes"] == []


@pytest.mark.parametrize(
    "objects",
    [
        {"bbox": [[5, 2, 10, 4]], "category": ["car"]},
        [{"bbox": [5, 2, 10, 4], "category": 2}],
        {"box": [[5, 2, 10, 4]], "labels": [2]},
    ],
)
def test_objects_come_as_lists_or_as_a_list(tmp_path: Path, objects: Any) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    (tmp_path / "a.jsonl").write_text(json.dumps({"image": "a.png", "objects": objects}))
    assert boxes_of(tmp_path / "a.jsonl")[0]["classes"] == [2]


def test_class_names_within_objects_are_read_off_the_hubs_parquet(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    stream = io.BytesIO()
    Image.new("RGB", (20, 10)).save(stream, "PNG")
    row = {"image": {"bytes": stream.getvalue(), "path": None}, "objects": {"bbox": [[5.0, 2, 10, 4]], "category": [0]}}
    kind = {"feature": {"names": ["car", "sky"], "_type": "ClassLabel"}, "_type": "List"}
    features = {"image": {"_type": "Image"}, "objects": {"bbox": {"feature": {}, "_type": "List"}, "category": kind}}
    table = pyarrow.Table.from_pylist([row])
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert boxes_of(tmp_path / "a.parquet")[0]["classes"] == [2]


def test_a_picture_that_lies_on_its_side_has_its_sides_exchanged() -> None:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[media.ORIENTATION] = 6
    Image.new("RGB", (20, 10)).save(stream, "JPEG", exif=exif)
    assert media.size_of(media.Media(stream.getvalue(), "row 1")) == (10, 20)


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ("a car", "Row 4 holds a str as objects"),
        ({"bbox": [[1, 2, 3]], "category": [0]}, "Row 4 has the box"),
        ({"bbox": [[1, 2, -3, 4]], "category": [0]}, "Row 4 has the box .*last two not below 0"),
        ({"bbox": [[1, 2, 3, 4]]}, "objects without category"),
        ({"bbox": [[1, 2, 3, 4]], "category": [0, 1]}, "1 boxes and 2 classes"),
    ],
)
def test_wrong_objects_name_their_row(objects: Any, words: str) -> None:
    with pytest.raises(OptibenchError, match=words):
        boxes.objects_of(objects, 4)


def test_a_class_of_boxes_that_the_model_lacks_lists_both_sets(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match=r"Labels in the data: boat\. The model's labels: sky, road, car"):
        boxes_of(coco_file(tmp_path, category="boat"))


def test_a_model_without_boxes_cannot_be_judged_by_boxes() -> None:
    with pytest.raises(OptibenchError, match="gives no pred_boxes"):
        object_detection.predictions([np.zeros((2, 4))], {"labels": 3, "pictures": [truth()]})


def test_values_go_through_json() -> None:
    predictions = detected(*scene(1))
    again = np.array(msgspec.json.decode(msgspec.json.encode(predictions.tolist())))
    assert values(again) == values(predictions)
