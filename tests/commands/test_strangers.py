"""A stranger's graph: inputs that are guessed, said or given, and what is wrong with some files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import Optibench

FLOAT = TensorProto.FLOAT
QUICK = ("--backends", "onnxruntime", "--precisions", "fp32", "--rounds", "1", "--budget", "2s", "--quick")


def graph(path: Path, operator: str = "Tanh", **save: Any) -> Path:
    """frames -> operator -> times a weight -> out, and a state beside it; frames has an axis that nobody can guess."""
    frames = helper.make_tensor_value_info("frames", FLOAT, ["batch", "time", 8])
    state = helper.make_tensor_value_info("state", FLOAT, [2, "batch", 4])
    outs = [helper.make_tensor_value_info(name, FLOAT, None) for name in ("hidden", "out", "next")]
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32), "w")
    nodes = [
        helper.make_node(operator, ["frames"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "w"], ["out"]),
        helper.make_node("Tanh", ["state"], ["next"]),
    ]
    made = helper.make_graph(nodes, "g", [frames, state], outs, [weight])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path, **save)
    return path


def case(run: Path) -> dict[str, Any]:
    (found,) = json.loads((run / "comparison.json").read_text())["cases"]
    return found


def test_an_input_that_cannot_be_guessed_is_named_with_the_option(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("compare", graph(tmp_path / "a.onnx"), cwd=tmp_path)
    assert done.returncode == 2
    assert "'frames' (float32, shape ?x?x8)" in done.stderr
    assert "--input frames=1x64x8:float32" in done.stderr
    assert "state (float32, 2x?x4)" in done.stderr
    assert not (tmp_path / "optibench-runs").exists()


def test_the_option_that_the_error_shows_mends_it(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench(
        "compare", graph(tmp_path / "a.onnx"), "--input", "frames=3x64x8:float32", "--out", tmp_path / "run", *QUICK
    )
    assert done.returncode == 0, done.stderr
    found = case(tmp_path / "run")
    assert (found["status"], found["batch"]) == ("ok", 3)  # the state's batch goes with that of the frames
    assert found["multiply_adds"] == 3 * 64 * 8 * 8


def test_real_arrays_are_what_is_run(optibench: Optibench, tmp_path: Path) -> None:
    frames = np.full((2, 5, 8), 0.5, np.float32)
    np.savez(tmp_path / "real.npz", frames=frames, state=np.zeros((2, 2, 4), np.float32))
    path = graph(tmp_path / "a.onnx")
    run = tmp_path / "run"
    done = optibench("compare", path, "--inputs", tmp_path / "real.npz", "--out", run, *QUICK)
    assert done.returncode == 0, done.stderr
    assert case(run)["multiply_adds"] == 2 * 5 * 8 * 8
    assert json.loads((run / "comparison.json").read_text())["workload"]["calibration"]["id"] == "real.npz"
    again = optibench("compare", path, "--inputs", tmp_path / "real.npz", "--batch", "4", "--dry-run")
    assert again.returncode == 2  # two rows were given
    assert "batch of 2 only" in again.stderr


def test_nan_is_a_failed_case_that_names_the_first_tensor(optibench: Optibench, tmp_path: Path) -> None:
    path = graph(tmp_path / "a.onnx", "Sqrt")  # of noise around 0
    done = optibench("compare", path, "--input", "frames=1x16x8", "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 3
    assert "the output 'hidden' holds NaN" in done.stderr + done.stdout


def test_weights_that_lie_beside_the_file_and_are_gone_are_named(optibench: Optibench, tmp_path: Path) -> None:
    path = graph(tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    (tmp_path / "a.data").unlink()
    done = optibench("compare", path, "--input", "frames=1x16x8")
    assert done.returncode == 2
    assert "keeps weights in a.data, which is not beside it" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--input", "frames"], "is not name=shape"),
        (["--input", "frames=1x16x9"], "has the shape ?x?x8"),
        (["--input", "frame=1x16x8"], "Did you mean frames"),
        (["--inputs", "nothing.npz"], "There is no file nothing.npz"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(optibench: Optibench, tmp_path: Path, args: list[str], words: str) -> None:
    done = optibench("compare", graph(tmp_path / "a.onnx"), *args, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_checkpoint_takes_no_inputs_of_ones_own(optibench: Optibench, tiny_bert: Path) -> None:
    done = optibench("compare", tiny_bert, "--input", "input_ids=1x8")
    assert done.returncode == 2
    assert "for graphs of unknown purpose" in done.stderr


def one(path: Path, nodes: list[Any], ins: list[Any], outs: list[Any], weights: dict[str, Any], **made: Any) -> Path:
    """A graph of these nodes, float tensors of any shape among its outputs by name."""
    outs = [helper.make_tensor_value_info(out, FLOAT, None) if isinstance(out, str) else out for out in outs]
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph_made = helper.make_graph(nodes, "g", ins, outs, held)
    sets = [helper.make_opsetid("", 20), *(helper.make_opsetid(*extra) for extra in made.pop("extra", ()))]
    onnx.save(helper.make_model(graph_made, opset_imports=sets, ir_version=10), path, **made)
    return path


def rows(*axes: Any, name: str = "x", kind: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(axes))


SQUARE = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
TIMES = helper.make_node("MatMul", ["x", "w"], ["y"])


def test_whole_numbers_alone_are_an_answer(optibench: Optibench, tmp_path: Path) -> None:
    best = helper.make_node("ArgMax", ["y"], ["class"], axis=1)
    kind = rows("n", 1, name="class", kind=TensorProto.INT64)
    done = optibench(
        "compare",
        one(tmp_path / "a.onnx", [TIMES, best], [rows("n", 8)], [kind], {"w": SQUARE}),
        *("--out", tmp_path / "run", *QUICK),
    )
    assert done.returncode == 0, done.stderr
    assert case(tmp_path / "run")["parity"]["count"] == 16


def test_how_many_are_found_may_vary(optibench: Optibench, tmp_path: Path) -> None:
    """As in a detector that ends by suppressing boxes: nothing can be laid side by side, and the rest is measured."""
    nodes = [TIMES, helper.make_node("NonZero", ["bits"], ["found"])]
    nodes.insert(1, helper.make_node("Greater", ["y", "most"], ["bits"]))
    found = rows(None, None, name="found", kind=TensorProto.INT64)
    made = one(tmp_path / "a.onnx", nodes, [rows("n", 8)], [found], {"w": SQUARE, "most": np.float32(2)})
    done = optibench("compare", made, "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr
    assert (case(tmp_path / "run")["status"], case(tmp_path / "run")["parity"]) == ("ok", None)


def test_nothing_found_in_noise_is_no_failure(optibench: Optibench, tmp_path: Path) -> None:
    nodes = [
        TIMES,
        helper.make_node("Greater", ["y", "most"], ["bits"]),
        helper.make_node("NonZero", ["bits"], ["found"]),
    ]
    found = rows(None, None, name="found", kind=TensorProto.INT64)
    made = one(tmp_path / "a.onnx", nodes, [rows("n", 8)], ["y", found], {"w": SQUARE, "most": np.float32(1e9)})
    done = optibench("compare", made, "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr


def test_a_scalar_among_the_inputs_stays_one(optibench: Optibench, tmp_path: Path) -> None:
    scaled = helper.make_node("Mul", ["scale", "x"], ["z"])
    times = helper.make_node("MatMul", ["z", "w"], ["y"])
    ins = [rows(name="scale"), rows("n", 8)]
    done = optibench(
        "compare",
        one(tmp_path / "a.onnx", [scaled, times], ins, ["y"], {"w": SQUARE}),
        *("--out", tmp_path / "run", "--backends", "onnxruntime,openvino", *QUICK[2:]),
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads((tmp_path / "run" / "comparison.json").read_text())["cases"]
    assert [(c["status"], c["reason"]) for c in cases] == [("ok", None)] * 2


def test_a_converted_classifiers_maps_are_its_answers(optibench: Optibench, tmp_path: Path) -> None:
    """What skl2onnx writes by default: labels as text, and a list of maps from label to probability."""
    names = {"classlabels_strings": ["a", "b", "c"]}
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "probabilities"],
            domain="ai.onnx.ml",
            coefficients=SQUARE.ravel()[:12].tolist(),
            intercepts=[0.0] * 3,
            post_transform="SOFTMAX",
            **names,
        ),
        helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", **names),
    ]
    texts = rows(None, name="label", kind=TensorProto.STRING)
    of_maps = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(FLOAT, []))
    maps = helper.make_value_info("maps", helper.make_sequence_type_proto(of_maps))
    made = one(tmp_path / "a.onnx", nodes, [rows(None, 4)], [texts, maps], {}, extra=[("ai.onnx.ml", 2)])
    done = optibench("compare", made, "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr
    assert case(tmp_path / "run")["parity"]["count"] == 16


def test_a_file_that_is_quantized_already_is_run_as_it_is(optibench: Optibench, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "wz"], ["wd"]),
        helper.make_node("MatMul", ["d", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "t", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "t", "z"], ["y"]),
    ]
    weights = {
        "s": np.float32(0.03),
        "t": np.float32(0.1),
        "z": np.uint8(128),
        "wz": np.int8(0),
        "wq": np.random.default_rng(0).integers(-127, 127, (64, 64)).astype(np.int8),
    }
    made = one(tmp_path / "a.onnx", nodes, [rows("n", 64)], ["y"], weights)
    done = optibench("compare", made, "--out", tmp_path / "run", "--backends", "onnxruntime", *QUICK[4:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = case(tmp_path / "run")
    assert (found["precision"], found["status"], found["verdict"]) == ("int8", "ok", "reference")
    assert found["executed"]["precision"] == "int8"
    assert "Calibrated with noise of the graph's own inputs" in done.stdout
    assert "Accuracy was not measured: what this graph is for is not known" in done.stdout


def test_ids_are_rows_of_the_table_that_they_pick_from(optibench: Optibench, tmp_path: Path) -> None:
    pick = helper.make_node("Gather", ["table", "x"], ["e"])
    times = helper.make_node("MatMul", ["e", "w"], ["y"])
    ids = rows("n", "t", kind=TensorProto.INT32)
    made = one(tmp_path / "a.onnx", [pick, times], [ids], ["y"], {"w": SQUARE, "table": SQUARE[:4]})
    done = optibench("compare", made, "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>Not found</html>", "a web page"),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_what_came_in_a_models_place_is_called_what_it_is(
    optibench: Optibench, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = optibench("compare", tmp_path / name, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_weights_beside_the_file_that_are_cut_off_are_named(optibench: Optibench, tmp_path: Path) -> None:
    made = one(
        tmp_path / "a.onnx",
        [TIMES],
        [rows("n", 8)],
        ["y"],
        {"w": SQUARE},
        save_as_external_data=True,
        location="a.data",
        size_threshold=0,
    )
    (tmp_path / "a.data").write_bytes(bytes(100))
    done = optibench("compare", made, cwd=tmp_path)
    assert done.returncode == 2
    assert "a.data is damaged: it has 100 bytes where a.onnx reads up to byte 256" in done.stderr


def test_an_input_of_unknown_rank_must_be_said_and_then_runs(optibench: Optibench, tmp_path: Path) -> None:
    anything = helper.make_tensor_value_info("x", FLOAT, None)
    made = one(tmp_path / "a.onnx", [TIMES], [anything], ["y"], {"w": SQUARE})
    done = optibench("compare", made, cwd=tmp_path)
    assert (done.returncode, "--input x=1x64:float32" in done.stderr) == (2, True), done.stderr
    done = optibench("compare", made, "--input", "x=3x8", "--out", tmp_path / "run", *QUICK)
    assert done.returncode == 0, done.stderr
    assert case(tmp_path / "run")["batch"] == 3


def test_an_input_of_text_is_called_so(optibench: Optibench, tmp_path: Path) -> None:
    same = helper.make_node("Identity", ["x"], ["y"])
    text = rows("n", kind=TensorProto.STRING)
    made = one(tmp_path / "a.onnx", [same], [text], [rows("n", name="y", kind=TensorProto.STRING)], {})
    done = optibench("compare", made, cwd=tmp_path)
    assert done.returncode == 2
    assert "'x' is of the type string" in done.stderr


def test_a_graph_in_which_nothing_can_be_quantized_has_no_int8_build(optibench: Optibench, tmp_path: Path) -> None:
    tanh = helper.make_node("Tanh", ["x"], ["y"])
    made = one(tmp_path / "a.onnx", [tanh], [rows("n", 8)], ["y"], {})
    wanted = ("--backends", "onnxruntime,openvino", "--precisions", "fp32,int8", *QUICK[4:])
    done = optibench("compare", made, "--out", tmp_path / "run", *wanted)
    assert done.returncode == 0, done.stderr
    cases = json.loads((tmp_path / "run" / "comparison.json").read_text())["cases"]
    found = {(c["backend"], c["precision"]): c for c in cases}
    for backend in ("onnxruntime", "openvino"):
        assert found[backend, "fp32"]["status"] == "ok"
        assert found[backend, "int8"]["status"] == "skipped"
        assert "nothing in this graph can be quantized" in found[backend, "int8"]["reason"]
