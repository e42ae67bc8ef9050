"""How OpenVINO's files are opened: files saved with its defaults, with a state, with inner names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops
from openvino.op import util

from optibench.backends.openvino import OpenVINOSession, settings_for
from optibench.errors import OptibenchError
from optibench.signature import inputs_for, signature_of
from optibench.values import Shape

WEIGHT = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
X = {"x": WEIGHT[:2]}


def saved(path: Path, out: Any, *ins: Any, **options: Any) -> Path:
    openvino.save_model(openvino.Model([out] if not isinstance(out, list) else out, list(ins), "g"), path, **options)
    return path


def opened(path: Path, precision: str = "fp32") -> OpenVINOSession:
    return OpenVINOSession(path, "CPU", settings_for(precision))


@pytest.mark.parametrize("half", [True, False])
def test_weights_that_are_kept_in_half_precision_are_computed_with_in_full(tmp_path: Path, half: bool) -> None:
    """Which is how OpenVINO saves by default: such a file is no fp16 build."""
    x = ops.parameter([-1, 64], np.float32, name="x")
    y = ops.matmul(x, ops.constant(WEIGHT), False, False)
    session = opened(saved(tmp_path / "a.xml", y, x, compress_to_fp16=half))
    assert session.executed(session.feed(X)).precision == "fp32"


def test_each_call_of_a_graph_with_a_state_begins_anew(tmp_path: Path) -> None:
    described = util.VariableInfo()
    described.data_shape, described.data_type = openvino.PartialShape([2, 64]), openvino.Type.f32
    described.variable_id = "sum"
    variable = util.Variable(described)
    x = ops.parameter([2, 64], np.float32, name="x")
    kept = ops.read_value(ops.constant(np.zeros((2, 64), np.float32)), variable)
    total = ops.add(x, kept)
    model = openvino.Model([ops.result(total)], [ops.assign(total, variable)], [x], "g")
    openvino.save_model(model, tmp_path / "a.xml", compress_to_fp16=False)
    session = opened(tmp_path / "a.xml")
    feed = session.feed(X)
    first, second = (next(iter(session.arrays(session.call(feed)).values())).copy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_outputs_bear_the_names_that_the_file_gives_them(tmp_path: Path) -> None:
    """Compiling may add those of tensors inside, and they come first by the alphabet."""
    x = ops.parameter([-1, 64], np.float32, name="x")
    y = ops.relu(x)
    y.output(0).get_tensor().set_names({"17", "boxes"})
    session = opened(saved(tmp_path / "a.xml", y, x))
    assert session.outputs == ["boxes"]


def test_ids_are_rows_of_the_table_that_they_pick_from(tmp_path: Path) -> None:
    ids = ops.parameter([-1, -1], np.int64, name="input_ids")
    picked = ops.gather(ops.constant(WEIGHT[:8]), ops.convert(ids, np.int32), ops.constant(0))
    signature = signature_of(saved(tmp_path / "a.xml", picked, ids))
    made = inputs_for(signature, Shape(batch=2, length=16), 0)["input_ids"]
    assert made.max() < 8


def test_an_input_without_a_rank_must_be_said(tmp_path: Path) -> None:
    x = ops.parameter(openvino.PartialShape.dynamic(), np.float32, name="x")
    (found,) = signature_of(saved(tmp_path / "a.xml", ops.relu(x), x))
    assert (found.ranked, found.shape) == (False, ())


def test_an_input_of_text_is_called_so(tmp_path: Path) -> None:
    x = ops.parameter([-1], openvino.Type.string, name="x")
    file = saved(tmp_path / "a.xml", x, x)
    with pytest.raises(OptibenchError, match="'x' is of the type string"):
        signature_of(file)
