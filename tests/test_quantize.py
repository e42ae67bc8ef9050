"""Quantizing where a library is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from optibench import export, quantize
from optibench.errors import Unsupported


@pytest.mark.parametrize(("form", "extra"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_library_that_is_missing_is_named_with_its_pip_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str, extra: str
) -> None:
    def lacking(*arguments: Any) -> None:
        raise ModuleNotFoundError("No module named 'nncf'", name="nncf")

    monkeypatch.setattr(quantize, f"_quantize_{form}", lacking)
    monkeypatch.setattr(export, "samples_of", lambda build: [])
    build: Any = SimpleNamespace(precision="int8")
    with pytest.raises(Unsupported, match=rf"nncf is not installed: pip install 'optibench\[{extra}\]'"):
        quantize._make(tmp_path, build, form, Path("graph"), None, lambda path, batch: [])


def depthwise(folder: Path) -> Path:
    """A depthwise convolution over time behind a norm, as ConvBERT has: channels last before it, first in it."""
    block = torch.nn.Sequential(
        torch.nn.LayerNorm(8), Turned(), torch.nn.Conv1d(8, 8, 3, padding=1, groups=8), Turned()
    )
    length = torch.export.Dim("length", min=2)
    torch.onnx.export(
        block, (torch.randn(1, 6, 8),), folder / "model.onnx", dynamo=True, dynamic_shapes=({1: length},),
        input_names=["x"], verbose=False,
    )  # fmt: skip
    return folder / "model.onnx"


class Turned(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


def test_a_depthwise_convolution_over_time_is_quantized_with_samples_of_several_lengths(tmp_path: Path) -> None:
    samples = [{"x": np.random.default_rng(n).normal(size=(1, n, 8)).astype(np.float32)} for n in (6, 9, 12)]
    source = depthwise(tmp_path)
    quantize._quantize_onnx(source, tmp_path / "int8.onnx", "onnx", "int8", samples)
    exact, found = (onnxruntime.InferenceSession(path).run(None, dict(samples[1]))[0]
                    for path in (source, tmp_path / "int8.onnx"))  # fmt: skip
    assert 0 < abs(found - exact).max() < 0.05 * abs(exact).max()


def test_an_input_that_bears_the_older_exporters_name_is_fed(tmp_path: Path) -> None:
    """torch.onnx named inputs input.1; transformers' quantizer takes "input." for its own mark and found none."""
    weight = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input.1", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(weight, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, tmp_path / "a.onnx")
    samples = [{"input.1": weight[row : row + 1]} for row in range(8)]
    quantize._quantize_onnx(tmp_path / "a.onnx", tmp_path / "q.onnx", "onnx", "int8", samples)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node}
