"""The lines that an exported build's README writes text with: what they are made of, without a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import generation_lines, package
from optibench.backends import onnxruntime, openvino
from optibench.errors import OptibenchError
from optibench.generation_rules import Rules
from optibench.values import Model
from tests.factories import model as model_ref

RULES = [
    Rules(prompt=(2,), stop=(3,), most=8),
    Rules(prompt=(2,), stop=(3, 5), most=8, least=2, suppress=(8, 9), bad_words=((7,),)),
    Rules(prompt=(2,), stop=(), most=8, begin=((10, 11, 12), (9,)), suppress=(9, 11), begin_suppress=(4, 6), least=4),
]


def model(folder: Path, **config: Any) -> Model:
    return Model(ref=model_ref(task="text-generation"), path=str(folder), config=config)


@pytest.mark.parametrize("rules", RULES, ids=("plain", "never", "begin"))
def test_the_lines_choose_what_the_rules_choose(rules: Rules) -> None:
    rng = np.random.default_rng(0)
    for length in [*range(6)] * 20:
        logits, made = rng.normal(size=(1, 13)).astype(np.float32), rng.integers(0, 13, length).tolist()
        (right,) = rules.choose(logits, [np.array([token]) for token in made])
        lines = generation_lines.choice(rules)
        exec(lines, found := {"numpy": np, "scores": logits[0], "made": made, "ends": {*rules.stop}})
        assert found["made"][length] == right


def test_what_the_lines_do_not_apply_is_told() -> None:
    assert generation_lines.unapplied(RULES[1]) == []
    rules = Rules(prompt=(2,), stop=(3,), most=8, no_repeat=3, repeat_penalty=1.1, bad_words=((1, 2),))
    assert generation_lines.unapplied(rules) == ["repetition_penalty", "no_repeat_ngram_size", "bad_words_ids"]


@pytest.mark.parametrize(
    ("config", "file", "ends"),
    [
        ({"eos_token_id": 7}, None, "{7}"),
        ({"text_config": {"eos_token_id": [7, 8]}}, None, "{7, 8}"),
        ({"eos_token_id": 7}, '{"eos_token_id": [5, 6]}', "{5, 6}"),
        ({"eos_token_id": 7}, "{}", "set()"),
        ({}, None, "set()"),
    ],
)
@pytest.mark.parametrize("backend", [onnxruntime, openvino])
def test_the_lines_end_where_the_models_files_say(
    tmp_path: Path, config: dict[str, Any], file: str | None, ends: str, backend: Any
) -> None:
    if file:
        (tmp_path / "generation_config.json").write_text(file)
    lines = generation_lines.lines(model(tmp_path, **config), backend.writing("g.x", "fp32"), package.HERE, None)
    assert f'tokens, seen, made, ends = inputs["input_ids"], 0, [], {ends}\n' in lines
    compile(lines, "README", "exec")
    assert len(lines.splitlines()) <= 42


@pytest.mark.parametrize("said", ['{"eos_token_id": "__import__"}', "[1]", "{"])
def test_a_generation_config_that_cannot_be_read_is_called_so(tmp_path: Path, said: str) -> None:
    (tmp_path / "generation_config.json").write_text(said)
    with pytest.raises(OptibenchError, match=r"eos_token_id|generation_config\.json beside the model cannot be read"):
        generation_lines.lines(model(tmp_path), onnxruntime.writing("g.x", "fp32"), package.HERE, None)


def test_a_backend_without_such_lines_exports_no_build_that_generates(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match=r"pytorch makes no file that generates text.*onnxruntime, openvino"):
        package.check_can_be_written(model(tmp_path), "pytorch")


def test_the_lines_begin_with_what_the_session_that_is_measured_begins_with(tmp_path: Path) -> None:
    """Keys and values of no token; and of sliding windows a number, as Gemma 3 has them."""
    import onnx
    import onnxruntime as runtime
    from onnx import TensorProto, helper

    from optibench.onnx_decoder import ONNXDecoder

    kept = {"a.keys": (TensorProto.FLOAT, ["rows", 2, "length", 4]), "a.window": (TensorProto.INT64, [])}
    ports = [
        [helper.make_tensor_value_info(f"{side}.{name}", *kind) for name, kind in kept.items()]
        for side in ("input", "output")
    ]
    nodes = [helper.make_node("Identity", [f"input.{name}"], [f"output.{name}"]) for name in kept]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *ports), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    onnx.save(model, tmp_path / "model.onnx")
    right = ONNXDecoder(tmp_path / "model.onnx", threads=1)
    found: dict[str, Any] = {"numpy": np, "onnxruntime": runtime, "here": tmp_path}
    exec(onnxruntime.writing("model.onnx", "fp32").opening, found)
    for name, value in zip(right.pasts, right._nothing(1), strict=True):
        array = found["past"][name]
        assert (array.shape, array.dtype) == (value.numpy().shape, value.numpy().dtype), name
