"""Quantizing where a library is missing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
