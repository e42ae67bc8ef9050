"""Graphs that are compiled for one shape at a time: what is padded and cut back, and that answers stay the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from optibench import static_shapes, targets
from optibench.backends import onnxruntime, openvino
from optibench.cache import Cache
from optibench.errors import CaseFailed
from optibench.nvidia.providers import CPU, Provider
from optibench.values import Artifact, Case, Job, Model, Shape
from tests import factories
from tests.conftest import Optibench
from tests.tasks.test_architectures import build_of

WIDTH = 16  # also a length that is padded to: an output of this width must not be taken for tokens


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids looked up, averaged over the tokens of the mask: a batch's answers do not depend on padding."""
    ids, mask = (
        helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("input_ids", "attention_mask")
    )
    outs = [
        helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["b", "t", WIDTH]),
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["b", WIDTH]),
    ]
    table = np.random.default_rng(0).standard_normal((50, WIDTH)).astype(np.float32)
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "last")]
    weights.append(numpy_helper.from_array(np.array([1]), "axis"))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float", "last"], ["weight"]),
        helper.make_node("Mul", ["tokens", "weight"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weight", "axis"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["pooled"]),
    ]
    path = tmp_path_factory.mktemp("graph") / "a.onnx"
    made = helper.make_graph(nodes, "g", [ids, mask], outs, weights)
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def job_on(backend: str, **options: Any) -> Job:
    target = msgspec.structs.replace(targets.load()["cpu"], options={backend: options})
    return Job(
        case=Case(target="cpu", backend=backend, precision="fp32"),
        model=Model(ref=factories.model(), path="", max_length=40),
        target=target,
        round=1,
        artifact=Artifact(format="onnx", path="", sha256="", bytes=0),
        inputs="",
        shapes=(Shape(batch=1, length=7),),
        threads=1,
    )


def rows(count: int, length: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(length)
    mask = np.ones((count, length), np.int64)
    mask[0, length // 2 :] = 0
    return {"input_ids": rng.integers(0, 50, (count, length)), "attention_mask": mask, "_words": mask}


def answers(session: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = session.arrays(session.call(session.feed(inputs)))
    return found


@pytest.mark.parametrize("backend", [openvino, onnxruntime], ids=lambda module: module.__name__.rpartition(".")[2])
def test_answers_are_those_of_a_graph_of_free_shapes(
    graph: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this machine's CPU, by the code that an NPU is driven with."""
    name = backend.__name__.rpartition(".")[2]
    artifact = Artifact(format="onnx", path=str(graph), sha256="", bytes=0)
    job = job_on(name, static_shapes=True)
    if backend is onnxruntime:  # whose CPU provider plays the NPU's
        from optibench import accelerators

        cpu = Provider(backend="onnxruntime", name=CPU, package="onnxruntime", library="", install="", graphs="")
        static = accelerators.session_on(cpu, graph, job)
    else:
        with openvino.session(artifact, job) as static:
            pass
    assert isinstance(static, static_shapes.StaticShapes)
    with backend.session(artifact, job_on(name)) as free:
        for count, length in ((1, 7), (3, 5), (4, 30), (2, 16), (2, 17), (3, 40)):
            inputs = rows(count, length)
            mine, theirs = answers(static, inputs), answers(free, inputs)
            assert mine.keys() == theirs.keys() == {"tokens", "pooled"}
            for output in mine:
                np.testing.assert_allclose(mine[output], theirs[output], atol=1e-5)
    shapes = {dict(key)["input_ids"] for key in static.sessions}
    # As asked for; 3x5 and 2x16 padded alike but for rows; no more tokens than the model has positions.
    assert shapes == {(1, 7), (4, 16), (4, 32), (2, 16), (2, 32), (4, 40)}
    assert static.executed(static.feed(rows(1, 7))).detail["static_shapes"] == len(shapes)


def test_tokens_without_a_mask_are_not_padded() -> None:
    assert static_shapes.rounded_up((3, 11), None, masked=False) == (4, 11)
    assert static_shapes.rounded_up((3, 11), None, masked=True) == (4, 16)
    assert static_shapes.rounded_up((1, 500), 512, masked=True) == (1, 512)
    assert static_shapes.rounded_up((5, 0), None, masked=True) == (8, 0)


def test_what_all_rows_share_keeps_its_rows() -> None:
    pictures, texts = np.ones((3, 3, 8, 8), np.float32), np.ones((2, 9), np.int64)
    assert static_shapes.fitted(pictures, (3, 0), (4, 0)).shape == (4, 3, 8, 8)
    assert static_shapes.fitted(texts, (3, 0), (4, 0)).shape == (2, 9)


def test_an_output_of_the_tokens_width_is_not_cut() -> None:
    assert static_shapes.cut(np.ones((4, 16)), (3, 9), (4, 16), free=(0,)).shape == (3, 16)
    assert static_shapes.cut(np.ones((4, 16, 5)), (3, 9), (4, 16), free=(0, 1)).shape == (3, 9, 5)


def test_the_graph_that_is_compiled_has_no_free_axis_also_where_an_input_is_not_given(
    tiny_bert: Path, cache_root: Path
) -> None:
    """The IR that optibench exports of a BERT, whose own axes are free, by the option that NPUs are driven with."""
    import openvino as runtime

    cache = Cache(cache_root)
    build, _ = build_of(tiny_bert, "feature-extraction", cache)
    build = msgspec.structs.replace(build, backend="openvino")
    artifact = openvino.prepare(build, cache)
    written = runtime.Core().read_model(artifact.path)
    assert {name for port in written.inputs for name in port.get_names()} == {"input_ids", "attention_mask"}
    assert all(port.get_partial_shape().is_dynamic for port in written.inputs)
    written.reshape({port: [1, 128] for port in written.inputs})  # as docs/targets.md has it
    assert not written.is_dynamic()
    with openvino.session(artifact, job_on("openvino", static_shapes=True)) as static:
        static.feed({"input_ids": np.ones((3, 9), np.int64)})  # unpadded, for lack of a mask
        ((shapes, session),) = static.sessions.items()
        assert dict(shapes) == {"input_ids": (4, 9)}
        ports = session.compiled.inputs
        assert [port.get_partial_shape().to_shape() for port in ports] == [runtime.Shape([4, 9])] * 2
        assert not any(port.get_partial_shape().is_dynamic for port in session.compiled.outputs)


def test_a_graph_that_keeps_a_free_axis_is_no_case_of_such_a_device(tmp_path: Path) -> None:
    import openvino as runtime

    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "t"])
    out = helper.make_tensor_value_info("places", TensorProto.INT64, [2, "n"])
    made = helper.make_graph([helper.make_node("NonZero", ["input_ids"], ["places"])], "g", [ids], [out])
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "a.onnx")
    model = runtime.Core().read_model(tmp_path / "a.onnx")
    with pytest.raises(CaseFailed, match=r"'places' is .* compiles fixed shapes alone"):
        openvino.in_shapes(model, {"input_ids": (4, 16)})


def test_a_plan_says_where_shapes_are_fixed(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "fixed.toml").write_text(
        'name = "fixed"\ndescription = "a"\ndevice = "cpu"\nprecisions = ["fp32"]\n'
        '[backends]\nopenvino = ["fp32"]\nonnxruntime = ["fp32"]\n[options.openvino]\nstatic_shapes = true\n'
    )
    asked = ("compare", tiny_bert, "--targets", "fixed,npu-intel", "--targets-dir", tmp_path, "--dry-run")
    shown = optibench(*asked, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    notes = dict(
        line.split(maxsplit=1) if " " in line.strip() else (line.strip(), "")
        for line in shown.stdout.splitlines()
        if line.startswith("  ")
    )
    fixed = {name for name, note in notes.items() if "shapes are fixed: each is compiled on its own" in note}
    assert fixed == {"fixed/openvino/fp32", "npu-intel/openvino/fp16", "npu-intel/openvino/int8"}
    assert "fixed/onnxruntime/fp32" in notes
    told = json.loads(optibench(*asked, "--json", cwd=tmp_path).stdout)
    assert {case["case"] for case in told["cases"] if case["static_shapes"]} == fixed
