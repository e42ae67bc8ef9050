"""NVML by the real nvidia-ml-py: without a driver, and over a stand-in for the driver's library that it loads."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optibench import energy, gpus, nvml
from tests.conftest import Optibench, write_fake_target
from tests.nvidia.check_engines import write

UUIDS = ["GPU-00000000-1111-2222-3333-444444444444", "GPU-10000000-1111-2222-3333-444444444444"]
PART = "MIG-01000000-1111-2222-3333-444444444444"
TARGET = 'device = "cuda"\n', '[match]\ngpu = "nvidia"\n'


class Machine:
    """A machine that the stand-in plays: ``machine(count=1, **{"0.celsius": 88})`` says anew what it is like."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.file = folder / "machine.txt"
        self.env = {"STANDIN": str(self.file), "LD_LIBRARY_PATH": str(library)}
        self()

    def __call__(self, **what: object) -> None:
        self.file.write_text("".join(f"{key} {value}\n" for key, value in what.items()))

    def run(self, code: str) -> Any:
        """What a process on that machine prints as JSON."""
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def look(self, seconds: float = 30) -> nvml.Look:
        """gpus.look there."""
        import msgspec

        code = (
            f"import sys, msgspec\nfrom optibench import gpus\n"
            f"sys.stdout.buffer.write(msgspec.json.encode(gpus.look({seconds})))"
        )
        return msgspec.convert(self.run(code), nvml.Look)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles the stand-in, and gives its folder."""

    def compile_it(*flags: str) -> Path:
        folder = tmp_path_factory.mktemp("nvml")
        source = Path(__file__).with_name("nvml.c")
        warnings = ("-Wall", "-Wextra", "-Werror")
        subprocess.run(["gcc", *warnings, *flags, "-shared", "-fPIC", source, "-o", folder / nvml.LIBRARY], check=True)
        return folder

    return compile_it


@pytest.fixture(scope="session")
def library(compiled: Callable[..., Path]) -> Path:
    return compiled()


@pytest.fixture
def machine(tmp_path: Path, library: Path) -> Machine:
    return Machine(tmp_path, library)


@pytest.fixture
def cuda_target(tmp_path: Path) -> Path:
    """A folder with the fake backend's target ``pretend``, on a CUDA device, and ``plain``, on the processor."""
    folder = write_fake_target(tmp_path / "targets")
    text = (folder / "pretend.toml").read_text()
    (folder / "plain.toml").write_text(text.replace('"pretend"', '"plain"'))
    (folder / "pretend.toml").write_text(text.replace('device = "cpu"\n', TARGET[0]) + TARGET[1])
    return folder


def compare(optibench: Optibench, model: Path, folder: Path, machine: Machine, *more: Any, **env: str) -> Any:
    return optibench(
        "compare", model, "--targets", "pretend", "--targets-dir", folder, "--out", folder.parent / "run",
        "--rounds", "2", "--budget", "10s", "--length", "16", *more, env={**machine.env, **env}, timeout=200,
    )  # fmt: skip


def records(folder: Path) -> list[dict[str, Any]]:
    """Of the builds; those of limits are left out."""
    lines = (folder.parent / "run" / "records.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["case"]["backend"] != "limits"]


# The module itself


def used(path: str) -> set[str]:
    tree = ast.parse(Path(path).read_text())
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_every_function_and_constant_that_is_used_exists() -> None:
    import pynvml

    names = {name for name in used(nvml.__file__) if name.startswith(("nvml", "NVML"))} | set(nvml.HELD_BACK)
    assert {"nvmlInit", "NVML_CLOCK_SM", "nvmlClocksEventReasonSwPowerCap"} <= names
    assert not [name for name in sorted(names) if not hasattr(pynvml, name)]


def test_every_reason_of_nvidia_ml_py_has_words() -> None:
    import pynvml

    known = {getattr(pynvml, name) for name in nvml.HELD_BACK}
    theirs = {
        getattr(pynvml, name)
        for name in dir(pynvml)
        if name.startswith(("nvmlClocksEventReason", "nvmlClocksThrottleReason")) and not name.endswith(("All", "None"))
    }
    assert known == theirs


def test_bits_that_are_not_known_are_told_too() -> None:
    assert nvml.held_back(0) == ()
    assert nvml.held_back(4 | 1 << 40) == ("power limit", "reason 0x10000000000")


def test_without_a_driver_nothing_is_started_and_nothing_is_an_error() -> None:
    import pynvml

    assert not gpus.has_driver(), "this test is for a machine without a driver"
    assert gpus.look() is None
    assert nvml.watch(UUIDS[0]) is None
    with pytest.raises(pynvml.NVMLError_LibraryNotFound):
        pynvml.nvmlInit()
    assert nvml.look(0).nvidia.trouble == "NVML Shared Library Not Found"


# What is read


def test_every_gpu_is_seen_with_its_state(machine: Machine) -> None:
    machine(**{"1.name": "NVIDIA A100-SXM4-80GB", "1.capability": 80, "0.reasons": 5, "0.limit": 60000, "1.ecc": 0})
    seen = machine.look()
    assert (seen.nvidia.driver, seen.nvidia.cuda, seen.nvidia.trouble) == ("580.95.05", "13.0", None)
    assert [(gpu.number, gpu.uuid) for gpu in seen.nvidia.gpus] == list(enumerate(UUIDS))
    assert [gpu.compute_capability for gpu in seen.nvidia.gpus] == ["8.9", "8.0"]
    one, two = (seen.states[uuid] for uuid in UUIDS)
    assert one.reading.held_back == ("idle", "power limit")
    assert (one.reading.sm_mhz, one.reading.memory_mhz, one.reading.celsius, one.reading.watts) == (1980, 6251, 54, 50)
    assert (one.limit_watts, one.default_limit_watts, one.limit_celsius, one.most_sm_mhz) == (60, 72, 90, 2040)
    assert (one.persistence, one.ecc, two.ecc, one.mig, one.ecc_errors) == (True, True, False, None, 0)


def test_what_a_card_or_an_old_driver_does_not_tell_is_none(tmp_path: Path, compiled: Callable[..., Path]) -> None:
    machine = Machine(tmp_path, compiled("-DOLD"))
    settings, sensors = ("persistence", "ecc", "ecc_errors", "limit"), ("milliwatts", "sm", "memory", "celsius")
    machine(count=1, **{f"0.{key}": -1 for key in (*settings, *sensors, "slower_from", "most")})
    seen = machine.look()
    assert seen.states == {UUIDS[0]: nvml.State(default_limit_watts=72)}


def test_a_gpu_that_is_lost_is_named_and_the_others_are_seen(machine: Machine) -> None:
    machine(**{"0.lost": 1})
    seen = machine.look()
    assert [gpu.uuid for gpu in seen.nvidia.gpus] == UUIDS[1:]
    assert seen.nvidia.trouble == "GPU 0: GPU is lost"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"init_error": 18}, "NVML/RM version mismatch"),
        ({"init_error": 9}, "Driver Not Loaded"),
        ({"init_crashes": 1}, "asking it ended with signal 6"),
        ({"count": 0}, "the driver knows no GPU"),
    ],
)
def test_a_driver_that_is_ill_is_a_reason_in_words(machine: Machine, what: dict[str, int], words: str) -> None:
    machine(**what)
    seen = machine.look()
    assert seen.nvidia.gpus == ()
    assert words in (seen.nvidia.trouble or "")


def test_a_driver_that_hangs_keeps_nobody(machine: Machine) -> None:
    machine(init_hangs=1)
    assert machine.look(seconds=1).nvidia.trouble == "it did not answer within 1 s"


def test_mig_instances_take_their_gpus_place(machine: Machine) -> None:
    machine(**{"0.mig": 1})
    seen = machine.look()
    assert [(gpu.number, gpu.name, gpu.part_of) for gpu in seen.nvidia.gpus] == [
        (0, "NVIDIA L4 MIG 1g.6gb", UUIDS[0]),
        (0, "NVIDIA L4 MIG 1g.6gb", UUIDS[0]),
        (1, "NVIDIA L4", ""),
    ]
    assert seen.nvidia.gpus[1].uuid == PART


WATCH = """
import json, msgspec, os
from optibench import energy, nvml
watch = nvml.watch(os.environ["CUDA_VISIBLE_DEVICES"])
found = energy.spent(lambda: None, watch.millijoules, 0.3)
print(json.dumps([msgspec.to_builtins(watch.reading()), msgspec.to_builtins(found)]))
"""


def test_a_process_reads_its_own_memory_and_the_energy_of_its_gpu(machine: Machine) -> None:
    machine.env["CUDA_VISIBLE_DEVICES"] = UUIDS[1]
    reading, spent = machine.run(WATCH)
    assert reading["process_bytes"] == 512_000_000
    assert spent["calls"] > 0
    assert spent["seconds"] >= 0.3
    assert spent["joules"] / spent["seconds"] == pytest.approx(50, rel=0.5)  # the stand-in's watts; a busy machine


def test_a_part_of_a_gpu_has_its_gpus_sensors_and_no_energy(machine: Machine) -> None:
    machine(**{"0.mig": 1, "0.celsius": 71})
    machine.env["CUDA_VISIBLE_DEVICES"] = PART
    reading, spent = machine.run(WATCH)
    assert (reading["celsius"], reading["process_bytes"], spent) == (71, 512_000_000, None)


def test_a_counter_that_stands_still_or_is_missing_gives_no_energy() -> None:
    now = iter(range(10_000))
    assert energy.spent(lambda: None, lambda: 5, 1.0, lambda: next(now) / 10) is None
    assert energy.spent(lambda: None, lambda: None) is None


def test_an_engine_is_built_for_the_gpu_that_was_chosen(machine: Machine) -> None:
    machine(**{"1.name": "NVIDIA A100-SXM4-80GB", "1.capability": 80})
    machine.env["CUDA_VISIBLE_DEVICES"] = UUIDS[1]
    code = (
        "import json, msgspec\nfrom optibench.nvidia.card import card\n"
        f"print(json.dumps([msgspec.to_builtins(card({UUIDS[0]!r})), msgspec.to_builtins(card())]))"
    )
    chosen, visible = machine.run(code)
    assert chosen == {"name": "NVIDIA L4", "compute_capability": "8.9", "driver": "580.95.05", "cuda": "13.0"}
    assert visible["name"] == "NVIDIA A100-SXM4-80GB"


# What a user sees


def test_the_doctor_names_who_else_uses_the_gpu_and_never_how_it_was_called(
    optibench: Optibench, machine: Machine
) -> None:
    other = subprocess.Popen(["sleep", "600"], executable="/bin/sleep")
    secret = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "--token=hunter2"])
    try:
        machine(**{"0.pid": other.pid, "1.pid": secret.pid, "0.persistence": 0})
        done = optibench("doctor", env=machine.env)
    finally:
        other.kill()
        secret.kill()
        other.wait()
        secret.wait()
    assert done.returncode == 0, done.stderr
    assert f"!!  other processes on the GPU: GPU 0: {other.pid} (sleep); GPU 1: {secret.pid} (python" in done.stdout
    assert "!!  GPU persistence mode: GPU 0: off" in done.stdout
    assert "ok  NVIDIA driver: 580.95.05, CUDA 13.0" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_the_doctor_without_a_driver_says_so_in_one_line(optibench: Optibench) -> None:
    done = optibench("doctor")
    assert done.returncode == 0, done.stderr
    assert "ok  NVIDIA driver: none here\n" in done.stdout
    assert "GPU" not in done.stdout.replace("NVIDIA GPU", "")


def test_a_run_keeps_the_gpus_sensors_memory_and_energy(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path
) -> None:
    machine(**{"1.reasons": 4, "1.name": "NVIDIA A100-SXM4-80GB", "1.capability": 80})
    done = compare(optibench, tiny_bert, cuda_target, machine, "--device", "a100")
    assert done.returncode == 0, done.stderr
    found = [record for record in records(cuda_target) if record["measurement"]]
    assert {record["gpu"]["gpu"]["uuid"] for record in found} == {UUIDS[1]}
    for record in found:
        assert record["gpu"]["before"]["celsius"] == record["gpu"]["after"]["celsius"] == 54
        (series,) = record["measurement"]["series"]
        assert len(series["readings"]) == len(series["bursts"])
        # The stand-in tells this of the process that may see that GPU alone.
        assert {reading["process_bytes"] for reading in series["readings"]} == {512_000_000}
    judged = [r for r in found if r["round"] == 1 and not r["case"]["copy"]]
    assert all(r["measurement"]["series"][0]["energy"]["joules"] > 0 for r in judged)
    comparison = json.loads((cuda_target.parent / "run" / "comparison.json").read_text())
    assert comparison["gpus"]["pretend"]["name"] == "NVIDIA A100-SXM4-80GB"
    assert all(case["device_memory_bytes"] == 512_000_000 for case in comparison["cases"])
    assert all(case["energy_joules_per_call"] > 0 for case in comparison["cases"])
    assert "pretend ran on GPU 1: NVIDIA A100-SXM4-80GB" in done.stdout
    assert "The GPU's clock was held back (power limit): pretend/fake/fp32 in 100% of its bursts" in done.stdout


def test_a_gpu_that_is_not_there_is_told_with_those_that_are(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path
) -> None:
    done = compare(optibench, tiny_bert, cuda_target, machine, "--device", "7")
    assert done.returncode == 2
    there = f"0 NVIDIA L4 ({UUIDS[0]}), 1 NVIDIA L4 ({UUIDS[1]})"
    assert f"There is no GPU '7' to be used here. There are: {there}" in done.stderr


@pytest.mark.parametrize(
    ("more", "env", "uuid"),
    [
        ((), {}, UUIDS[0]),
        ((), {"CUDA_VISIBLE_DEVICES": "1,0"}, UUIDS[1]),
        ((), {"CUDA_VISIBLE_DEVICES": "GPU-1"}, UUIDS[1]),
        (("--device", PART), {}, PART),
    ],
)
def test_all_cases_run_on_the_gpu_that_was_asked_for(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path, more: Any, env: Any, uuid: str
) -> None:
    machine(**({"0.mig": 1} if uuid == PART else {}))
    done = compare(optibench, tiny_bert, cuda_target, machine, "--quick", *more, **env)
    assert done.returncode == 0, done.stderr
    found = [record for record in records(cuda_target) if record["measurement"]]
    assert {record["gpu"]["gpu"]["uuid"] for record in found} == {uuid}
    readings = [one for r in found for s in r["measurement"]["series"] for one in s["readings"]]
    assert {one["process_bytes"] for one in readings} == {512_000_000}


def test_no_visible_gpu_is_a_reason_and_no_fault(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path
) -> None:
    done = compare(optibench, tiny_bert, cuda_target, machine, CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 3
    assert "CUDA_VISIBLE_DEVICES=-1 leaves none of 0 NVIDIA L4" in done.stderr


def test_a_driver_that_hangs_while_cases_run_costs_those_on_the_gpu_alone(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path
) -> None:
    """The sensors hang in the first worker's first burst; the driver, asked anew, hangs too."""
    compare_it = ("--targets", "plain,pretend", "--precisions", "fp32")
    machine()
    started = subprocess.Popen(
        [sys.executable, "-m", "optibench.cli", "compare", tiny_bert, *compare_it, "--targets-dir", cuda_target,
         "--out", cuda_target.parent / "run", "--rounds", "2", "--budget", "10s", "--length", "16"],
        env={**os.environ, **machine.env, "HF_HUB_OFFLINE": "1", "OPTIBENCH_BURST_LIMIT_SECONDS": "3",
             "OPTIBENCH_GPU_LOOK_SECONDS": "3"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = cuda_target.parent / "run" / "logs" / "pretend-fake-fp32.log"
    while started.poll() is None and not log.exists():  # the worker is about to start
        time.sleep(0.005)
    machine(sensors_hang=1)
    out, said = started.communicate(timeout=200)
    assert started.returncode == 0, said
    found = records(cuda_target)
    assert {r["status"] for r in found if r["case"]["target"] == "plain"} == {"ok"}
    (failed,) = [r for r in found if r["case"]["target"] == "pretend" and r["status"] == "failed"]
    assert "did not answer within" in failed["reason"] or "no longer answers" in failed["reason"]
    assert "pretend/fake/fp32" in out


def test_an_operator_that_tensorrt_does_not_know_is_a_failed_case_with_the_nodes_name_and_the_rest_goes_on(
    optibench: Optibench, machine: Machine, tmp_path: Path
) -> None:
    """A graph with an operator of ONNX Runtime's own; TensorRT-RTX itself reads it, in a whole run."""
    odd = write(tmp_path, "QuickGelu", "odd_one", "com.microsoft")
    done = optibench(
        "compare", odd, "--targets", "cpu,cuda-ada", "--backends", "onnxruntime,tensorrt-rtx", "--precisions", "fp32",
        "--out", tmp_path / "run", "--quick", env=machine.env, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {f"{one['case']['target']}/{one['case']['backend']}": one for one in records(tmp_path / "targets")}
    assert found["cpu/onnxruntime"]["status"] == "ok"
    assert found["cuda-ada/tensorrt-rtx"]["status"] == "failed"
    assert "TensorRT-RTX cannot read the node 'odd_one' (QuickGelu)" in found["cuda-ada/tensorrt-rtx"]["reason"]


def test_a_gpu_that_went_away_before_a_run_is_resumed_fails_its_cases_in_words(
    optibench: Optibench, machine: Machine, tiny_bert: Path, cuda_target: Path
) -> None:
    assert compare(optibench, tiny_bert, cuda_target, machine).returncode == 0
    (cuda_target.parent / "run" / "records.jsonl").unlink()
    machine(**{"0.lost": 1})
    done = optibench("compare", "--resume", cuda_target.parent / "run", env=machine.env, timeout=200)
    assert done.returncode == 3
    assert f"the GPU {UUIDS[0]} no longer answers (GPU 0: GPU is lost)" in done.stderr
