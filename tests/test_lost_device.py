"""A device that dies in a round: it is asked anew, whoever used it leaves with the reason, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from optibench import api, gpus, nvml, turns
from optibench.execute import inline, process
from optibench.execute.base import LaneDied
from optibench.gpu_values import Gpu, Nvidia
from optibench.plan import Request
from optibench.values import Job
from tests.conftest import write_fake_target
from tests.test_turns import WORKLOAD, folder, job

__all__ = ["folder"]


REQUESTS = ("Open", "Warm", "Turn", "Spend", "Judge")


class Dying(inline.InlineLane):
    """Dies of the request named."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self.of = of

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        if type(request).__name__ == self.of:
            raise LaneDied("it did not answer within 30 s, and was stopped")
        return super().ask(request, timeout_seconds)


def run(folder: Path, of: str, gone: str | None) -> tuple[list[turns.Turner], list[str], list[str]]:
    """A round of two cases on a GPU, the first of which dies, and one on the processor."""
    jobs = [
        *(msgspec.structs.replace(job(folder, precision), device="GPU-0") for precision in ("fp32", "bf16")),
        job(folder, "int8"),
    ]
    asked: list[str] = []
    launched: list[str] = []

    def launch(one: Job) -> inline.InlineLane:
        launched.append(one.case.precision)
        return Dying(of) if one.case.precision == "fp32" else inline.InlineLane()

    def probe(one: Job, died: bool) -> str | None:
        asked.append(one.device)
        assert died == (of in REQUESTS)
        return gone if one.device else None

    turners = turns.run_round(jobs, launch, WORKLOAD, seed=7, judge_in=folder, probe=probe)
    return turners, asked, launched


@pytest.mark.parametrize("of", REQUESTS)
def test_who_shares_a_device_that_is_gone_leaves_with_the_reason_and_the_rest_goes_on(folder: Path, of: str) -> None:
    (dead, sibling, other), asked, launched = run(folder, of, "the GPU no longer answers")
    assert (dead.status, dead.reason) == ("failed", "it did not answer within 30 s, and was stopped")
    assert (sibling.status, sibling.reason) == ("failed", "the GPU no longer answers")
    assert other.measurement() is not None
    assert asked == ["GPU-0"]
    assert ("bf16" in launched) == (of != "Open")  # nothing is started on a device that is gone


@pytest.mark.parametrize("of", ["Open", "Turn"])
def test_a_device_that_still_answers_keeps_its_other_cases(folder: Path, of: str) -> None:
    (dead, sibling, other), asked, _ = run(folder, of, None)
    assert dead.status == "failed"
    assert sibling.measurement() is not None
    assert other.measurement() is not None
    assert asked == ["GPU-0"]  # once for each that failed, not for each turn


def test_an_error_that_a_worker_reports_is_told_apart_from_its_death(folder: Path) -> None:
    """CUDA is asked after a death alone."""
    on_gpu = (job(folder, "fp32", fail="load"), job(folder, "bf16"))
    deaths: list[bool] = []

    def probe(one: Job, died: bool) -> None:
        deaths.append(died)

    jobs = [msgspec.structs.replace(one, device="GPU-0") for one in on_gpu]
    turns.run_round(jobs, inline.launch, WORKLOAD, seed=7, probe=probe)
    assert deaths == [False]


def test_a_worker_has_as_long_to_open_as_its_target_says(folder: Path) -> None:
    limits: list[float] = []

    class Listening(inline.InlineLane):
        def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
            if type(request).__name__ == "Open":
                limits.append(timeout_seconds)
            return super().ask(request, timeout_seconds)

    usual, short = job(folder, "fp32"), job(folder, "bf16")
    short = msgspec.structs.replace(short, target=msgspec.structs.replace(short.target, open_limit_seconds=90.0))
    turns.run_round([usual, short], lambda one: Listening(), WORKLOAD, seed=7)
    assert limits == [600.0, 90.0]


def test_after_a_death_cuda_is_asked_before_each_further_round_too(
    tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVML goes on answering; CUDA does in the round of the death, and not before the next."""
    card = Gpu(number=0, uuid="GPU-0", name="NVIDIA L4", compute_capability="8.9")
    answers = iter([None, "CUDA cannot make a context"])
    asked: list[str] = []

    def without_context(uuid: str) -> str | None:
        asked.append(uuid)
        return next(answers)

    def launch(one: Job) -> inline.InlineLane:
        return Dying("Turn") if one.case.precision == "bf16" else inline.InlineLane()

    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(gpus, "look", lambda: nvml.Look(nvidia=Nvidia(driver="580", cuda="13.0", gpus=(card,))))
    monkeypatch.setattr(gpus, "without_context", without_context)
    targets = write_fake_target(tmp_path / "targets", bf16={})
    file = targets / "pretend.toml"
    file.write_text(file.read_text().replace('device = "cpu"', 'device = "cuda"') + '[match]\ngpu = "nvidia"\n')
    request = Request(model=str(tiny_bert), targets=("pretend",), targets_dir=str(targets), lengths=(16,), rounds=2)
    result = api.run(request, out=tmp_path / "run", command="optibench compare x", launch=launch)
    assert asked == ["GPU-0", "GPU-0"]
    reasons = {case.precision: (case.status, case.reason) for case in result.comparison.cases}
    assert reasons["bf16"] == ("failed", "it did not answer within 30 s, and was stopped")
    assert reasons["fp32"] == reasons["int8"] == ("failed", "CUDA cannot make a context")


def test_nothing_is_asked_while_nothing_fails(folder: Path) -> None:
    _, asked, _ = run(folder, "nothing", "gone")
    assert asked == []


def test_a_worker_that_even_a_kill_does_not_end_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a driver that hangs a process outlives SIGKILL until the driver lets go."""
    monkeypatch.setattr(process, "KILL_SECONDS", 0.05)
    lane = process.ProcessLane("optibench.worker", {}, tmp_path / "log")
    real, lane.process = lane.process, subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        monkeypatch.setattr("os.killpg", lambda group, signal: None)  # nothing that is sent arrives
        lane.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            lane.ask({}, 1.0)
    finally:
        for left in (real, lane.process):
            left.kill()
            left.wait()
