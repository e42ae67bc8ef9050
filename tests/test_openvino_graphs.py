"""Exported OpenVINO graphs: sizes stay exact in whatever precision; quantized ones answer as they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optibench import openvino_graphs
from optibench.errors import CaseFailed
from optibench.openvino_graphs import computed_as_written, means_by_themselves, whole_divisions

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


@pytest.mark.parametrize("kind", ["mean", "max", "sum"])
def test_a_mean_over_time_is_scaled_by_its_own_channels_in_every_row(kind: str) -> None:
    from openvino import opset13 as ops

    x = ops.parameter([-1, 8, -1], np.float32, name="x")
    scales, sound = np.linspace(0.2, 5, 8).astype(np.float32), rows(1, 4, 8, 9)[0]["x"][0]
    over_time = getattr(ops, f"reduce_{kind}")(x, ops.constant(np.array([2])), False)
    model = openvino.Model([ops.multiply(over_time, ops.constant(scales[None]))], [x], "pooled")
    means_by_themselves(model)
    found = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([sound])[0]
    assert np.allclose(found, getattr(sound, kind)(2) * scales, atol=1e-5)


# What OpenVINO computes otherwise than it is written


def quantizer(of: Any, low: Any, high: Any) -> Any:
    from openvino import opset13 as ops

    ends = [ops.constant(np.asarray(end, np.float32)) for end in (low, high)]
    return ops.fake_quantize(of, *ends, *ends, 256)


def rows(count: int, *shape: int) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [{"x": rng.uniform(-1, 1, (1, *shape)).astype(np.float32)} for _ in range(count)]


def pooled(quantized: bool) -> Any:
    """A mean over time, scaled a channel as by SmoothQuant, quantized, and a classifier."""
    from openvino import opset13 as ops

    rng = np.random.default_rng(1)
    x = ops.parameter([-1, -1, 64], np.float32, name="x")
    mean = ops.reduce_mean(x, ops.constant(np.array([1])), False)
    scaled = ops.multiply(mean, ops.constant(rng.uniform(0.2, 5, (1, 64)).astype(np.float32)))
    weights = ops.constant(rng.integers(-127, 127, (5, 64)).astype(np.int8))
    scales = ops.constant(rng.uniform(0.001, 0.01, (5, 1)).astype(np.float32))
    last = ops.multiply(ops.convert(weights, np.float32), scales)
    out = ops.matmul(quantizer(scaled, -1, 1) if quantized else scaled, last, False, True)
    model = openvino.Model([out], [x], "pooled")
    model.inputs[0].set_names({"x"})
    return model


def convolved(quantized: bool, channels: int = 16) -> Any:
    """A convolution of few channels and a wide kernel; its input comes by way of a transpose."""
    from openvino import opset13 as ops

    rng = np.random.default_rng(2)
    x = ops.parameter([-1, -1, channels], np.float32, name="x")
    seen = ops.transpose(quantizer(x, -1, 1) if quantized else x, ops.constant(np.array([0, 2, 1])))
    weights = ops.constant(rng.integers(-127, 127, (32, channels, 16)).astype(np.int8))
    scales = ops.constant(rng.uniform(0.001, 0.01, (32, 1, 1)).astype(np.float32))
    out = ops.convolution(seen, ops.multiply(ops.convert(weights, np.float32), scales), [1], [8], [8], [1])
    model = openvino.Model([out], [x], "convolved")
    model.inputs[0].set_names({"x"})
    return model


def quantizers(model: Any) -> int:
    return sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops())


@pytest.mark.parametrize("graph", [pooled, convolved])
def test_a_quantized_graph_answers_as_it_is_written(graph: Any) -> None:
    samples = rows(4, 40, 64 if graph is pooled else 16)
    model = graph(True)
    computed_as_written(model, graph(False), samples)
    found, exact = (
        np.concatenate(
            [
                openvino.Core().compile_model(one, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(sample)[0].ravel()
                for sample in samples
            ]
        )
        for one in (model, graph(False))
    )
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)


def test_a_convolution_that_is_computed_well_keeps_its_quantizer() -> None:
    model = convolved(True, channels=64)
    computed_as_written(model, convolved(False, channels=64), rows(4, 40, 64))
    assert quantizers(model) == 1


def test_a_build_that_stays_wrong_is_a_failed_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_graphs._Check, "wrong", lambda *_: ", as is pretended")
    with pytest.raises(CaseFailed, match="otherwise than it is written"):
        computed_as_written(convolved(True), convolved(False), rows(1, 40, 16))


def test_what_quantizing_costs_is_no_fault_of_the_runtime() -> None:
    """Ranges so narrow that most values are cut off: far from the original, and still what is written."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 64], np.float32, name="x")
    eye = ops.constant(np.eye(64, dtype=np.float32))
    model = openvino.Model([ops.matmul(quantizer(x, -0.1, 0.1), eye, False, True)], [x], "cut")
    original = openvino.Model([ops.matmul(x, eye, False, True)], [x], "whole")
    for one in (model, original):
        one.inputs[0].set_names({"x"})
    computed_as_written(model, original, rows(4, 64))
    assert quantizers(model) == 1
