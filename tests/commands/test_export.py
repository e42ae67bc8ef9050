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
