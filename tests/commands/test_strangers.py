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
