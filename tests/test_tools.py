"""Tools in environments of their own: made by pip without a network here; modelopt itself by -m fetches."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from optibench import modelopt_driver, quantize, targets, tensorrt_graphs, tools
from optibench.backends import onnxruntime
from optibench.cache import Cache
from optibench.errors import CaseFailed, OptibenchError, Unsupported
from optibench.tools import Tool
from tests.conftest import Optibench
from tests.test_environment import wheel


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool of one small wheel."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    tool = Tool(
        name="tiny", what="nothing", requirements=(wheel(tmp_path / "wheels", "1.2"),), versions={"tinypkg": "1.2"}
    )
    monkeypatch.setitem(tools.TOOLS, "tiny", tool)
    return tool


def test_a_tool_is_added_found_and_removed(tiny: Tool, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    assert tools.size_of(tiny, cache) is None
    python = tools.add("tiny", cache, lambda text: None)
    assert python.exists()
    assert tools.python_of("tiny", cache) == python
    assert (tools.size_of(tiny, cache) or 0) > 0
    tools.remove("tiny", cache)
    assert not python.exists()
    assert tools.size_of(tiny, cache) is None


def test_a_tool_that_was_not_added_is_told_with_the_command_that_adds_it(tiny: Tool, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="has no environment here: optibench env add tiny"):
        tools.python_of("tiny", Cache(tmp_path))
    with pytest.raises(OptibenchError, match="nothing to remove"):
        tools.remove("tiny", Cache(tmp_path))


def test_what_pip_refuses_is_told_in_its_words(tiny: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = msgspec.structs.replace(tiny, versions={"tinypkg": "9.9"})
    monkeypatch.setitem(tools.TOOLS, "tiny", other)
    with pytest.raises(OptibenchError, match=r"could not be made: .*tinypkg.*package index"):
        tools.add("tiny", Cache(tmp_path / "cache"), lambda text: None)


def test_another_version_of_a_tool_is_another_environment(tiny: Tool, tmp_path: Path, monkeypatch: Any) -> None:
    cache = Cache(tmp_path / "cache")
    tools.add("tiny", cache, lambda text: None)
    monkeypatch.setitem(tools.TOOLS, "tiny", msgspec.structs.replace(tiny, versions={"tinypkg": "1.3"}))
    with pytest.raises(Unsupported, match="optibench env add tiny"):
        tools.python_of("tiny", cache)


def test_the_command_lists_the_tools_and_names_the_nearest(optibench: Optibench, tmp_path: Path) -> None:
    env = {"OPTIBENCH_CACHE": str(tmp_path)}
    (row,) = json.loads(optibench("env", "list", "--json", env=env).stdout)
    assert (row["tool"], row["here"]) == ("modelopt", False)
    assert row["versions"]["nvidia-modelopt"]
    assert "not here" in optibench("env", "list", env=env).stdout
    done = optibench("env", "add", "modelop", env=env)
    assert done.returncode == 2
    assert "Did you mean modelopt?" in done.stderr
    assert optibench("env", "remove", "modelopt", env=env).returncode == 2


def test_a_tool_that_fails_is_told_by_its_last_words(tmp_path: Path, tiny_graph: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'calibrating' >&2\necho 'ValueError: no such mode' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(CaseFailed, match="modelopt cannot quantize this model: ValueError: no such mode"):
        modelopt_driver.quantized(tiny_graph, "int8", [samples(1)], python)


def samples(rows: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(rows).standard_normal((rows, 64)).astype(np.float32)}


@pytest.fixture
def tiny_graph(tmp_path: Path) -> Path:
    """Two matrix products of random weights with a Relu between them, in opset 18."""
    import onnx
    from onnx import helper as h
    from onnx import numpy_helper

    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal((64, 64)).astype(np.float32), name) for name in ("w", "v")]
    nodes = [
        h.make_node("MatMul", ["x", "w"], ["a"], "first"),
        h.make_node("Relu", ["a"], ["b"], "relu"),
        h.make_node("MatMul", ["b", "v"], ["y"], "second"),
    ]
    ends = [h.make_tensor_value_info(name, 1, ["rows", 64]) for name in ("x", "y")]
    graph = h.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    path = tmp_path / "given.onnx"
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "least"), [("int8", 0.99), ("fp8", 0.99), ("int4-weights", 0.95)])
def test_each_quantized_graph_keeps_the_answers(tiny_graph: Path, tmp_path: Path, precision: str, least: float) -> None:
    out = tmp_path / precision / "model.onnx"
    out.parent.mkdir()
    tensorrt_graphs.write(tiny_graph, out, precision, [samples(rows) for rows in (16, 32, 64)])
    assert cosine(tiny_graph, out) > least


@pytest.mark.slow
def test_the_smoothing_that_keeps_most_of_samples_it_was_not_calibrated_on_is_taken(
    tiny_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx_ir as ir

    errors = dict(zip(tensorrt_graphs.ALPHAS, (0.3, 0.1, 0.2), strict=True))
    made, calibrated = {}, []

    def quantized(source: Path, precision: str, on: list[Any], alpha: float) -> ir.Model:
        calibrated.append(on)
        made[alpha] = ir.load(source)
        weight = made[alpha].graph.initializers["w"]
        weight.const_value = ir.tensor(weight.const_value.numpy() * (1 + errors[alpha]), name="w")
        return made[alpha]

    monkeypatch.setattr(tensorrt_graphs, "_by_nncf", quantized)
    given = [samples(rows) for rows in range(1, 9)]
    assert tensorrt_graphs._smoothed_best(tiny_graph, given) is made[0.5]
    assert all([len(sample["x"]) for sample in on] == [2, 3, 4, 6, 7, 8] for on in calibrated)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "fp8", "int4-weights"])
def test_a_graph_in_which_nothing_can_be_quantized_is_told_so(tmp_path: Path, precision: str) -> None:
    import onnx
    from onnx import helper as h

    ends = [h.make_tensor_value_info(name, 1, ["rows", 64]) for name in ("x", "y")]
    graph = h.make_graph([h.make_node("Relu", ["x"], ["y"], "relu")], "g", ends[:1], ends[1:])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9), tmp_path / "relu.onnx")
    with pytest.raises(Unsupported, match=f"nothing in this model can be {precision}: it has no matrix product"):
        tensorrt_graphs.write(tmp_path / "relu.onnx", tmp_path / "out.onnx", precision, [samples(2)])


def cosine(one: Path, other: Path) -> float:
    answers = [onnxruntime.run_file(path, samples(7))[0].ravel().astype(float) for path in (one, other)]
    return float(answers[0] @ answers[1] / np.linalg.norm(answers[0]) / np.linalg.norm(answers[1]))


@pytest.mark.fetches
@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_modelopt_in_its_own_environment_places_qdq_that_keeps_the_answers(
    tiny_graph: Path, tmp_path: Path, precision: str
) -> None:
    cache = Cache(Path(os.environ.get("OPTIBENCH_TOOLS_CACHE", tmp_path / "cache")))
    python = tools.add("modelopt", cache, print)
    out = tmp_path / precision / "model.onnx"
    out.parent.mkdir()
    tensorrt_graphs.write(tiny_graph, out, precision, [samples(rows) for rows in (16, 32, 64)], python)
    assert cosine(tiny_graph, out) > 0.99


def test_a_recipe_by_a_tool_holds_its_version_whether_it_is_here_or_not(tmp_path: Path) -> None:
    from optibench.values import Build, Model, ModelRef

    ref = ModelRef(id="m", revision="r", task="feature-extraction", source="local", weights_sha256="0" * 64)
    build = Build(
        model=Model(ref=ref, path=""),
        target=targets.load()["cuda"],
        backend="tensorrt",
        precision="int8",
        inputs="",
        calibration_sha256="1" * 64,
    )
    found = quantize.recipe(build, "modelopt")
    assert found["tools"] == tools.MODELOPT.versions
    assert found["calibration"] == "1" * 64
    assert found != quantize.recipe(build, "tensorrt")
    rows = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    told = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [rows], [told])), tmp_path / "m.onnx")
    graph = Model(ref=msgspec.structs.replace(ref, source="onnx"), path=str(tmp_path / "m.onnx"))
    with pytest.raises(Unsupported, match="optibench env add modelopt"):
        quantize.artifact(
            msgspec.structs.replace(build, model=graph), "modelopt", Cache(tmp_path), onnxruntime.run_file
        )
