"""Sizes in exported OpenVINO graphs stay exact in whatever precision the rest is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optibench.openvino_graphs import whole_divisions

openvino = pytest.importorskip("openvino")


def frames(stride: float, multiply: bool = True) -> Any:
    """A graph that gives as many zeros as a sound has frames: floor(length / stride), as the exporter writes it."""
    from openvino import opset13 as ops

    sound = ops.parameter([1, -1], np.float32, name="sound")
    heard = ops.unsqueeze(sound, ops.constant(0))  # convolved, as by a feature encoder: from there on bf16 counts
    heard = ops.convolution(heard, ops.constant(np.ones((1, 1, 1), np.float32)), [1], [0], [0], [1])
    length = ops.gather(ops.shape_of(heard), ops.constant(2), ops.constant(0))
    real = ops.convert(length, "f32")
    factor = np.float32(1 / stride if multiply else stride)
    share = ops.multiply(ops.constant(factor), real) if multiply else ops.divide(real, ops.constant(factor))
    count = ops.concat([ops.unsqueeze(ops.convert(ops.floor(share), "i64"), ops.constant(0)), ops.constant([1])], 0)
    ones = ops.broadcast(ops.constant(np.float32(1)), count)
    return openvino.Model(
        [ops.matmul(ones, ops.constant(np.eye(1, dtype=np.float32)), False, False)], [sound], "frames"
    )


def count(model: Any, length: int, precision: str) -> int:
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    return int(compiled([np.zeros((1, length), np.float32)])[0].shape[0])


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize("stride", [2, 5, 320])
def test_a_number_of_frames_is_exact(stride: int, multiply: bool) -> None:
    model = frames(stride, multiply)
    whole_divisions(model)
    assert not [node for node in model.get_ops() if node.get_type_name() == "Floor"]
    for length in (stride - 1, stride, 4999, 160_001):
        assert count(model, length, "f32") == length // stride


def test_it_is_so_in_bf16_too() -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes no bf16")
    model = frames(5)
    assert count(model, 4999, "bf16") != 999  # what the rewriting is for
    whole_divisions(model)
    assert count(model, 4999, "bf16") == 999


def test_a_division_by_what_is_no_whole_number_is_left_alone() -> None:
    model = frames(2.5)
    whole_divisions(model)
    assert [node for node in model.get_ops() if node.get_type_name() == "Floor"]
    assert count(model, 100, "f32") == 40
