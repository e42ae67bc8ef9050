"""An export that fails is tried once, however many precisions want it."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench import export, targets
from optibench.cache import Cache
from optibench.errors import CaseFailed
from optibench.onnx_attention import Way
from optibench.values import Build, Model
from tests import factories


def test_what_has_failed_fails_at_once_for_the_next_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, bool]] = []

    def failing(model: Model, form: str, folder: Path, samples: object, way: Way) -> None:
        tried.append((form, way.one_length))
        reason = "of one length neither" if way.one_length else "no"
        raise CaseFailed(f"The {form} exporter cannot export this model: {reason}")

    monkeypatch.setattr(export, "export", failing)
    monkeypatch.setattr(export, "samples_of", lambda build: [])
    monkeypatch.setattr(export, "_failed", {})
    cache = Cache(tmp_path)

    def ask(form: str, precision: str) -> None:
        build = Build(
            model=Model(ref=factories.model(), path=""), target=targets.load()["cpu"], backend="onnxruntime",
            precision=precision, inputs="", calibration_sha256="",
        )  # fmt: skip
        with pytest.raises(CaseFailed, match=f"The {form} exporter cannot export this model: no"):
            export.exported(build, form, cache, lambda path, inputs: [])

    for precision in ("fp32", "int8", "int8-weights"):
        ask("onnx", precision)
    ask("openvino", "fp32")
    assert tried == [("onnx", False), ("onnx", True), ("openvino", False), ("openvino", True)]
