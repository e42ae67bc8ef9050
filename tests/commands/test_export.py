"""`optibench export`: a folder with all that is needed, whose own README lines run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Optibench

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("backend", "precision"), [("onnxruntime", "int8"), ("openvino", "int8"), ("openvino", "bf16")]
)
def test_the_lines_of_its_readme_load_and_run_it(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path, backend: str, precision: str
) -> None:
    out = tmp_path / "artifact"
    done = optibench("export", tiny_bert, "--backend", backend, "--precision", precision, "--out", out)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()
    assert {"config.json", "tokenizer.json", "README.md", "export.json"} <= {p.name for p in out.iterdir()}
    examples = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 2  # plain runtime, and transformers' ExportedModel
    for lines in examples:
        ran = subprocess.run([sys.executable, "-c", lines], cwd=out, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "64" in ran.stdout  # the hidden size


def test_an_artifact_keeps_what_the_model_says(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.exporters import ExportedModel

    done = optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", tmp_path / "artifact")
    assert done.returncode == 0, done.stderr
    tokens = AutoTokenizer.from_pretrained(tmp_path / "artifact")(
        ["a good film", "the plot"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        wanted = AutoModel.from_pretrained(tiny_bert)(**tokens).last_hidden_state
    found = ExportedModel.from_pretrained(tmp_path / "artifact")(**tokens).last_hidden_state
    np.testing.assert_allclose(np.asarray(found), wanted.numpy(), atol=1e-4)


def test_a_folder_that_is_not_empty_is_left_as_it_is(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", tmp_path)
    assert done.returncode == 2
    assert "not an empty folder" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_precision_that_the_backend_lacks_is_refused(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    done = optibench("export", tiny_bert, "--backend", "onnxruntime", "--precision", "bf16", "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "onnxruntime has no bf16" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_graph_of_the_users_own_comes_with_its_weights_and_lines_that_run(
    optibench: Optibench, tmp_path: Path
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((64, 8), np.float32), "w")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", size]) for n, size in (("x", 64), ("y", 8))]
    made = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [weight])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "own.onnx", save_as_external_data=True, location="own.data", size_threshold=0)
    done = optibench("export", tmp_path / "own.onnx", "--backend", "onnxruntime", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("own.onnx", "own.data", "optibench.json", "README.md"),
    }
    (lines,) = re.findall(r"```python\n(.*?)```", (tmp_path / "out" / "README.md").read_text(), re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path / "out", capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "(1, 8)" in ran.stdout
