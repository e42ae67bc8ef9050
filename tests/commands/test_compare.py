"""`optibench compare` as a user runs it: real models, real runtimes, processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import optibench
from optibench.results import json_schema
from tests.conftest import Optibench
from tests.hub.server import Hub
from tests.published import TOKEN, hub_env

FakeTarget = Callable[..., Path]
QUICK = ("--rounds", "2", "--budget", "5s", "--length", "16")


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


def cases(run: Path) -> dict[str, dict[str, Any]]:
    return {case["case"]: case for case in json.loads((run / "comparison.json").read_text())["cases"]}


@pytest.fixture(scope="module")
def finished(
    optibench: Optibench, tiny_classifier: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of every default case on labelled data, quick."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = optibench(
        "compare", tiny_classifier, "--targets", "cpu,cuda", "--dataset", reviews, "--columns",
        "text=review,label=verdict", "--json", "--out", run, *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return run, done


def test_json_is_all_that_stands_on_standard_output_and_obeys_its_schema(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    run, done = finished
    printed = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    jsonschema.validate(printed, json_schema())
    assert printed == json.loads((run / "comparison.json").read_text())


def test_every_measured_case_has_a_share_of_a_peak_that_was_measured_beside_it(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    limits = json.loads((finished[0] / "comparison.json").read_text())["limits"]["cpu"]
    assert set(limits["operations_per_second"]) == {"fp32", "bf16", "int8"}
    assert all(rate > 0 for rate in (*limits["operations_per_second"].values(), limits["memory_bytes_per_second"]))
    measured = [case for case in cases(finished[0]).values() if case["latency_seconds"]]
    assert measured
    assert all(0 < case["peak_share"] <= 1.05 for case in measured)
    assert all(case["backend"] != "limits" for case in cases(finished[0]).values())


def test_every_default_case_on_the_cpu_is_measured_or_says_why_not(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    found = cases(finished[0])
    cpu = [name.removeprefix("cpu/") for name in found if name.startswith("cpu/")]
    assert cpu == [
        "pytorch/fp32", "pytorch/bf16", "onnxruntime/fp32", "onnxruntime/int8-dynamic", "onnxruntime/int8",
        "openvino/fp32", "openvino/bf16", "openvino/int8", "openvino/int8-weights",
    ]  # fmt: skip
    for case in found.values():
        assert case["status"] == "ok" or case["reason"]
        if case["status"] == "ok":
            assert case["artifact_bytes"] > 0
            assert case["peak_memory_bytes"] > 10_000_000
            assert len(case["artifact_sha256"]) == 64
            # In a few short blocks on a busy machine others may have disturbed each one of them.
            assert case["latency_seconds"]["p50"] > 0 if case["bursts"]["kept"] else case["bursts"]["disturbed"] > 0
    assert all("NVIDIA" in case["reason"] for name, case in found.items() if name.startswith("cuda/"))


def test_fp32_builds_agree_with_the_reference_and_run_in_fp32(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    found = cases(finished[0])
    for name in ("cpu/onnxruntime/fp32", "cpu/openvino/fp32"):
        assert found[name]["executed"]["precision"] == "fp32"
        assert found[name]["parity"]["cosine_min"] > 0.9999
        assert found[name]["parity"]["top1_agreement"] == 1.0
        assert found[name]["scores"][0]["change"]["mid"] == 0.0


def test_the_data_that_judge_and_those_that_calibrate_are_named_and_apart(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    workload = json.loads((finished[0] / "comparison.json").read_text())["workload"]
    assert workload["dataset"]["id"] == workload["calibration"]["id"] == "reviews.csv"
    assert workload["dataset"]["count"] + workload["calibration"]["count"] == 240
    assert workload["dataset"]["sha256"] != workload["calibration"]["sha256"]


def test_the_runs_folder_holds_records_table_parquet_and_report(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    import pyarrow.parquet

    run = finished[0]
    assert {"records.jsonl", "comparison.json", "table.csv", "records.parquet", "report.md", "logs"} <= {
        p.name for p in run.iterdir()
    }
    assert pyarrow.parquet.read_table(run / "records.parquet").num_rows > 0
    assert "cpu/openvino/int8" in (run / "report.md").read_text()
    assert not list(run.glob(".*"))  # nothing half-made is left


def test_a_build_of_it_is_published_and_runs_from_the_hub(
    optibench: Optibench,
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tiny_classifier: Path,
    reviews: Path,
    tmp_path: Path,
) -> None:
    with Hub(token=TOKEN) as hub:
        done = optibench(
            "publish", finished[0], "--to", "hub:user/tiny", "--case", "cpu/openvino/int8",
            env=hub_env(hub, tmp_path / "hf"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        files = hub.repo("user/tiny").head
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        for folder in (finished[0].parent, tiny_classifier.parent, reviews.parent):
            assert str(folder).encode() not in content, name
    lines = re.findall(r"```python\n(.*?)```", files["README.md"].decode(), re.DOTALL)[0]
    ran = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout == "[(1, 2)]\n", ran.stderr


def test_a_run_opens_again_from_python(finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    result = optibench.load(finished[0])
    frame = result.to_pandas()
    assert "cpu/openvino/int8" in set(frame["case"])
    saved = result.save(tmp_path / "copy")
    assert optibench.load(saved).comparison == result.comparison
    best = result.best(accuracy_floor=0.5)
    assert best is None or best.status == "ok"


@pytest.mark.slow
def test_an_onnx_file_of_the_users_own_is_its_own_reference(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    assert optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", tmp_path / "own").returncode == 0
    for file in (tmp_path / "own").glob("*.json"):
        file.unlink()  # a bare graph: nothing tells what it is for
    done = optibench(
        "compare", tmp_path / "own" / "model.onnx", "--backends", "onnxruntime", "--precisions", "fp32,int8",
        "--out", tmp_path / "run", *QUICK,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    comparison = json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert comparison["reference"] == "cpu/onnxruntime/fp32"
    assert comparison["model"]["task"] == "graph"
    found = cases(tmp_path / "run")
    assert found["cpu/onnxruntime/int8"]["executed"]["precision"] == "int8"
    assert found["cpu/onnxruntime/int8"]["parity"]["cosine"] > 0.9
    assert found["cpu/onnxruntime/int8"]["within_floor"] is None
    assert comparison["recommended"] is None
    assert "This task has no accuracy" in comparison["recommended_reason"]


@pytest.mark.slow
def test_an_openvino_file_of_the_users_own_is_its_own_reference(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    assert optibench("export", tiny_bert, "--backend", "openvino", "--out", tmp_path / "own").returncode == 0
    done = optibench(
        "compare",
        tmp_path / "own" / "openvino_model.xml",
        "--precisions",
        "fp32,int8",
        "--out",
        tmp_path / "run",
        *QUICK,
    )
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")
    assert found["cpu/openvino/fp32"]["verdict"] == "reference"
    assert found["cpu/openvino/int8"]["status"] == "ok"
    assert "OpenVINO file" in found["cpu/onnxruntime/fp32"]["reason"]


def fake_run(
    optibench: Optibench, model: Path, targets: Path, run: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    return optibench("compare", model, "--targets", "pretend", "--targets-dir", targets, "--out", run, *QUICK, *more)


def test_a_run_shows_each_cases_share_of_the_peak(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    targets = fake_target(int8={"latency_seconds": 0.004, "peak": 4e10})
    done = fake_run(optibench, tiny_bert, targets, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for report in (done.stdout, (tmp_path / "run" / "report.md").read_text().replace("\\", "")):
        assert "% of peak" in report
        assert "fp32 10.0 Gop/s, int8 40.0 Gop/s, memory 10.0 GB/s" in report
    found = cases(tmp_path / "run")
    for case, peak in (("pretend/fake/fp32", 1e10), ("pretend/fake/int8", 4e10)):
        operations = 2 * found[case]["multiply_adds"]
        assert found[case]["peak_share"] == pytest.approx(operations / found[case]["latency_seconds"]["p50"] / peak)


def test_a_graph_whose_arithmetic_is_not_known_says_so_and_is_measured(optibench: Optibench, tmp_path: Path) -> None:
    import onnx

    node = onnx.helper.make_node("MultiHeadAttention", ["x", "x", "x"], ["y"], domain="com.microsoft", num_heads=2)
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 8]) for name in "xy")
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "own.onnx")
    done = optibench(
        "compare", tmp_path / "own.onnx", "--backends", "onnxruntime", "--precisions", "fp32", "--rounds", "1",
        "--budget", "5s", "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "multiply-adds (the arithmetic of the operator com.microsoft.MultiHeadAttention is not known)" in done.stdout
    assert cases(tmp_path / "run")["cpu/onnxruntime/fp32"]["latency_seconds"]["p50"] > 0
    assert cases(tmp_path / "run")["cpu/onnxruntime/fp32"]["peak_share"] is None


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crash", "SIGSEGV"),
        ("memory", "ran out of memory"),
        ("error", "the fake runtime gave up"),
        ("load", "cannot open this file"),
        ("nan", "NaN"),
        ("build", "cannot trace"),
    ],
)
def test_a_case_that_breaks_is_failed_with_its_reason_and_the_others_are_measured(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, how: str, words: str
) -> None:
    done = fake_run(optibench, tiny_bert, fake_target(int8={"fail": how}), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = cases(tmp_path / "run")
    assert found["pretend/fake/int8"]["status"] == "failed"
    assert words in found["pretend/fake/int8"]["reason"]
    assert found["pretend/fake/fp32"]["status"] == "ok"
    assert words in done.stdout


def test_a_case_that_hangs_is_stopped_and_the_run_goes_on(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    done = optibench(
        "compare", tiny_bert, "--targets", "pretend", "--targets-dir", fake_target(int8={"fail": "hang"}),
        "--out", tmp_path / "run", *QUICK, env={"OPTIBENCH_BURST_LIMIT_SECONDS": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "did not answer" in cases(tmp_path / "run")["pretend/fake/int8"]["reason"]
    assert cases(tmp_path / "run")["pretend/fake/fp32"]["status"] == "ok"


def test_a_case_that_runs_in_another_precision_than_its_label_fails(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    done = fake_run(optibench, tiny_bert, fake_target(int8={"executed": "fp32"}), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert cases(tmp_path / "run")["pretend/fake/int8"]["reason"] == "asked for int8, but fp32 was executed"


def test_when_nothing_can_be_measured_the_exit_code_is_3_and_every_reason_is_said(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    broken = fake_target(fp32={"fail": "load"}, int8={"fail": "load"})
    done = fake_run(optibench, tiny_bert, broken, tmp_path / "run")
    assert done.returncode == 3
    assert "pretend/fake/fp32" in done.stderr
    assert "cannot open this file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_twin_that_alone_ran_is_no_result(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    broken = fake_target(fp32={"executed": "bf16"}, int8={"fail": "load"})  # only what is judged tells what it executed
    done = fake_run(optibench, tiny_bert, broken, tmp_path / "run")
    assert done.returncode == 3
    assert "bf16 was executed" in done.stderr


@pytest.mark.slow
def test_two_runs_share_one_cache_at_once(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "optibench.cli", "export", str(tiny_bert), "--backend", "onnxruntime"]
    env = {**os.environ, "OPTIBENCH_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    both = [
        subprocess.Popen([*command, "--out", str(tmp_path / name)], env=env, stderr=subprocess.PIPE) for name in "ab"
    ]
    assert [process.wait(300) for process in both] == [0, 0], [p.stderr and p.stderr.read() for p in both]
    exports = [p for p in (tmp_path / "cache" / "entries").iterdir() if (p / "model.onnx").exists()]
    assert len(exports) == 1


@pytest.mark.slow
def test_a_damaged_cache_entry_is_said_and_built_again(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    env = {"OPTIBENCH_CACHE": str(tmp_path / "cache")}
    command = ("export", tiny_bert, "--backend", "openvino", "--out")
    assert optibench(*command, tmp_path / "a", env=env).returncode == 0
    weights = next((tmp_path / "cache" / "entries").glob("*/openvino_model.bin"))
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-10])
    verified = optibench("cache", "verify", env=env)
    assert verified.returncode == 2
    assert "damaged" in verified.stderr
    again = optibench(*command, tmp_path / "b", env=env)
    assert again.returncode == 0, again.stderr
    assert "damaged" in again.stderr
    assert optibench("cache", "verify", env=env).returncode == 0
    assert (tmp_path / "a/openvino_model.bin").stat().st_size == (tmp_path / "b/openvino_model.bin").stat().st_size


def interrupted(
    model: Path, targets: Path, run: Path, cache_root: Path, reached: Callable[[], Any] | None = None
) -> subprocess.CompletedProcess[str]:
    """A run that gets Ctrl-C once this is reached: by default that its first round is on the disk."""
    reached = reached or (lambda: (run / "records.jsonl").exists() and len(records(run)) >= 3)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "optibench.cli", "compare", str(model), "--targets", "pretend", "--targets-dir",
            str(targets), "--out", str(run), "--rounds", "4", "--budget", "10m", "--length", "16",
        ],
        env={**os.environ, "OPTIBENCH_CACHE": str(cache_root), "HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        # Tests started in the background of a shell inherit an ignored SIGINT: a terminal's does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    for _ in range(600):
        if reached():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess([], process.returncode, "", said)


def test_ctrl_c_keeps_the_records_says_what_to_type_and_resume_repeats_nothing(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, cache_root: Path
) -> None:
    run = tmp_path / "run"
    stopped = interrupted(tiny_bert, fake_target(), run, cache_root)
    assert stopped.returncode == 130
    assert f"optibench compare --resume {run}" in stopped.stderr
    before = (run / "records.jsonl").read_text()
    rounds = {record["round"] for record in records(run)}
    done = optibench("compare", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert (run / "records.jsonl").read_text().startswith(before)
    later = [(*record["case"].values(), record["round"]) for record in records(run)]
    assert len(later) == len(set(later))
    limits = [record["case"]["precision"] for record in records(run) if record["case"]["backend"] == "limits"]
    assert sorted(limits) == ["fp32", "int8", "memory"]
    assert max(record["round"] for record in records(run)) > max(rounds)


def test_ctrl_c_amid_a_build_leaves_nothing_half_made_in_the_cache(
    tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    making = lambda: list(cache.glob("entries/.making-*"))  # noqa: E731
    stopped = interrupted(tiny_bert, fake_target(), tmp_path / "run", cache, making)
    assert stopped.returncode == 130
    assert making() == []


def test_a_finished_run_that_is_resumed_measures_nothing_more(
    optibench: Optibench, tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # As many rounds as decide whatever the seed of their noise, and no budget that a busy machine could use up.
    assert fake_run(optibench, tiny_bert, fake_target(), run, "--rounds", "4", "--budget", "10m").returncode == 0
    before = (run / "records.jsonl").read_bytes()
    done = optibench("compare", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert (run / "records.jsonl").read_bytes() == before
    assert "pretend/fake/int8" in done.stdout


def test_no_process_outlives_an_interrupted_run(
    tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, cache_root: Path
) -> None:
    interrupted(tiny_bert, fake_target(), tmp_path / "run", cache_root)

    def left() -> list[str]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                found.append(str((process / "fd" / "1").readlink()))
            except OSError:
                continue
        return [stdout for stdout in found if stdout.startswith(str(tmp_path))]

    # The kernel kills a worker with its parent; on a busy machine that may take a moment.
    patience = time.monotonic() + 5
    while left() and time.monotonic() < patience:
        time.sleep(0.05)
    assert left() == []


def test_a_dry_run_prints_the_plan_and_its_time_and_runs_nothing(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    done = optibench("compare", tiny_bert, "--targets", "cpu,cuda", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cpu/openvino/int8" in done.stdout
    assert "minutes" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_python_gets_what_the_command_gets(
    tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    result = optibench.compare(
        str(tiny_bert),
        targets=["pretend"],
        targets_dir=fake_target(),
        out=tmp_path / "run",
        rounds=2,
        budget_seconds=5,
        lengths=[16],
    )
    assert result.comparison.reference == "pretend/fake/fp32"
    speedup = next(case.speedup for case in result.comparison.cases if case.precision == "int8")
    assert speedup is not None
    assert 2.4 < speedup.mid < 2.6  # the target's 10 ms against 4 ms


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": 5}, "model"),
        ({"limit": "5"}, "limit"),
        ({"batches": 8}, "batches"),
        ({"batches": []}, "batch"),
        ({"columns": ["text"]}, "columns"),
        ({"budget_seconds": float("nan")}, "--budget"),
        ({"budget_seconds": float("inf")}, "--budget"),
        ({"targets": "cpux"}, "Unknown target 'cpux'"),
        ({"model": Path("/nowhere")}, "no such folder"),
    ],
)
def test_an_argument_that_python_code_cannot_mean_is_a_typed_error(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(optibench.OptibenchError, match=words):
        optibench.compare(**{"model": "minilm", **arguments})


def test_saving_copies_the_run_and_nothing_that_lies_beside_it(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "letter.txt").write_text("private")
    (tmp_path / "desk" / "comparison.json").write_bytes((finished[0] / "comparison.json").read_bytes())
    saved = optibench.load(tmp_path / "desk" / "comparison.json").save(tmp_path / "desk" / "inside")
    assert [path.name for path in saved.iterdir()] == ["comparison.json"]
    whole = optibench.load(finished[0]).save(tmp_path / "whole")
    assert {"records.jsonl", "report.md", "logs"} <= {path.name for path in whole.iterdir()}


def a_graph_of_fixed_size(folder: Path) -> Path:
    """Pictures of 8x8, two at a time, as a stranger exported them."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.random.default_rng(0).normal(0, 1, (192, 16)).astype(np.float32), "w")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [2, 3, 8, 8])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 16])
    nodes = [helper.make_node("Flatten", ["pixels"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    made = helper.make_graph(nodes, "g", [pixels], [out], [weight])
    path = folder / "own.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_graph_of_fixed_size_is_reported_at_that_size_and_no_other(optibench: Optibench, tmp_path: Path) -> None:
    graph = a_graph_of_fixed_size(tmp_path)
    done = optibench("compare", graph, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workload"]["shapes"] == [{"batch": 2, "length": 0}]
    for option, words in (("--batch=8", "a batch of 2 only"), ("--length=16", "it reads no text")):
        refused = optibench("compare", graph, "--dry-run", option)
        assert refused.returncode == 2
        assert words in refused.stderr
