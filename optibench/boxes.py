"""What is drawn on a picture: boxes with their classes, as rows of data and COCO's files hold them.

A box is COCO's: left, top, width and height in pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optibench.errors import OptibenchError
from optibench.value import Value

BOX = ("bbox", "bboxes", "box", "boxes")
CLASS = ("category", "categories", "label", "labels", "class", "category_id")
CROWD = ("iscrowd", "is_crowd")


class Objects(Value, frozen=True, kw_only=True):
    """A picture's objects. A ``crowd`` is a region of many: what is found in it is neither right nor wrong."""

    boxes: list[tuple[float, float, float, float]]
    classes: list[Any]
    crowd: list[int]


def objects_of(value: Any, number: int) -> Objects:
    """A row's objects, given as a list of them or, as on the Hub, an object of lists. Errors name the row."""
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        value = {key: [one.get(key) for one in value] for key in dict.fromkeys(key for one in value for key in one)}
    if not isinstance(value, dict):
        raise OptibenchError(
            f"Row {number} holds a {type(value).__name__} as objects, where a list of objects with {BOX[0]} (left, "
            f"top, width, height) and {CLASS[0]} is expected."
        )
    if not any(value.values()):
        return Objects(boxes=[], classes=[], crowd=[])
    boxes, classes = _column(value, BOX, number), _column(value, CLASS, number)
    crowd = next((value[name] for name in CROWD if name in value), [0] * len(boxes))
    if len(boxes) != len(classes) or len(crowd) != len(boxes):
        raise OptibenchError(
            f"Row {number} has {len(boxes)} boxes and {len(classes)} classes; every box needs its class."
        )
    return Objects(
        boxes=[_box(box, number) for box in boxes], classes=list(classes), crowd=[int(bool(one)) for one in crowd]
    )


def _column(value: Mapping[str, Any], names: Sequence[str], number: int) -> Sequence[Any]:
    found = next((value[name] for name in names if name in value), None)
    if not isinstance(found, list):
        raise OptibenchError(
            f"Row {number} has objects without {names[0]}; they have {', '.join(map(str, value)) or 'nothing'}."
        )
    return found


def _box(value: Any, number: int) -> tuple[float, float, float, float]:
    try:
        left, top, width, height = (float(side) for side in value)
    except (TypeError, ValueError):
        left = top = width = height = -1.0
    if not (width >= 0 and height >= 0):  # NaN is caught so too
        raise OptibenchError(
            f"Row {number} has the box {str(value)[:80]}, where four numbers are expected: left, top, width, height, "
            "the last two not below 0."
        )
    return left, top, width, height


def is_coco(value: Any) -> bool:
    """Whether a JSON file's content is an annotation file of COCO's kind."""
    return isinstance(value, dict) and all(isinstance(value.get(key), list) for key in ("images", "annotations"))


def rows_of_coco(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each image of a COCO file, with its objects by their categories' names."""
    names = {one["id"]: one["name"] for one in value.get("categories", [])}
    objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in value["images"]}
    for one in value["annotations"]:
        if one["image_id"] in objects:
            objects[one["image_id"]].append(
                {
                    "bbox": one["bbox"],
                    "category": names.get(one["category_id"], one["category_id"]),
                    "iscrowd": one.get("iscrowd", 0),
                }
            )
    return [{"image": image["file_name"], "objects": objects[image["id"]]} for image in value["images"]]
