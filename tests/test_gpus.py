"""Which GPU a run uses: what is visible, what --device names, what a target fits. NVML itself: tests/nvidia."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

import pytest

from optibench import gpus, nvml, targets
from optibench.errors import OptibenchError
from optibench.gpu_values import Gpu, Nvidia
from optibench.plan import Request, check_names, devices_of
from optibench.values import Host
from tests import factories


def gpu(number: int, name: str = "NVIDIA L4", capability: str = "8.9", **more: str) -> Gpu:
    return Gpu(number=number, uuid=more.pop("uuid", f"GPU-{number}a"), name=name, compute_capability=capability, **more)


TWO = (gpu(0), gpu(1))
MIXED = (gpu(0, "NVIDIA A100-SXM4-80GB", "8.0"), gpu(1), gpu(2))
DIVIDED = (gpu(0, "NVIDIA L4 MIG 1g.6gb", uuid="MIG-a", part_of="GPU-0a"),
           gpu(0, "NVIDIA L4 MIG 1g.6gb", uuid="MIG-b", part_of="GPU-0a"), gpu(1))  # fmt: skip


def host(*found: Gpu, trouble: str | None = None) -> Host:
    nvidia = Nvidia(driver="580.95", cuda="13.0", gpus=found, trouble=trouble)
    return factories.host(gpus=tuple(one.name for one in found), nvidia=nvidia)


def visible(env: Mapping[str, str], *found: Gpu) -> list[str]:
    return [one.uuid for one in gpus.usable(nvml.Look(nvidia=Nvidia(gpus=found)), env).gpus]


@pytest.mark.parametrize(
    ("asked", "found", "left"),
    [
        (None, TWO, ["GPU-0a", "GPU-1a"]),
        ("1", TWO, ["GPU-1a"]),
        ("1,0", TWO, ["GPU-1a", "GPU-0a"]),
        (" 1 , GPU-0", TWO, ["GPU-1a", "GPU-0a"]),
        ("0,7,1", TWO, ["GPU-0a"]),  # CUDA stops at the first that is not there
        ("", TWO, []),
        ("-1", TWO, []),
        ("none", TWO, []),
        ("GPU-", TWO, []),  # a beginning that both have
        ("MIG-b", DIVIDED, ["MIG-b"]),
        ("0", DIVIDED, ["MIG-a"]),
        ("GPU-0a,1", DIVIDED, ["MIG-a", "GPU-1a"]),
    ],
)
def test_what_cuda_visible_devices_leaves(asked: str | None, found: tuple[Gpu, ...], left: list[str]) -> None:
    env = {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible(env, *found) == left


def test_a_number_that_counts_by_speed_is_not_guessed() -> None:
    seen = nvml.Look(nvidia=Nvidia(gpus=MIXED))
    found = gpus.usable(seen, {"CUDA_VISIBLE_DEVICES": "1"})
    assert found.gpus == ()
    assert "set CUDA_DEVICE_ORDER=PCI_BUS_ID" in (found.trouble or "")
    assert visible({"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, *MIXED) == ["GPU-1a"]
    assert visible({"CUDA_VISIBLE_DEVICES": "GPU-2"}, *MIXED) == ["GPU-2a"]


def test_why_none_is_left_names_all_that_there_are() -> None:
    found = gpus.usable(nvml.Look(nvidia=Nvidia(gpus=TWO)), {"CUDA_VISIBLE_DEVICES": "5"})
    why = targets.mismatch(targets.load()["cuda"], factories.host(nvidia=found))
    assert why == (
        "NVIDIA's driver is here and offers no GPU: CUDA_VISIBLE_DEVICES=5 leaves none of "
        "0 NVIDIA L4 (GPU-0a), 1 NVIDIA L4 (GPU-1a)"
    )


@pytest.mark.parametrize(
    ("asked", "uuid"),
    [("1", "GPU-1a"), (" 2 ", "GPU-2a"), ("GPU-2", "GPU-2a"), ("a100", "GPU-0a"), ("L4", "GPU-1a"), ("80gb", "GPU-0a")],
)
def test_a_gpu_is_named_by_number_uuid_or_a_part_of_its_name(asked: str, uuid: str) -> None:
    assert gpus.chosen(asked, MIXED).uuid == uuid


@pytest.mark.parametrize("asked", ["3", "GPU-9", "H100", "GPU", "-1", "1,2"])
def test_a_gpu_that_is_not_there_is_told_with_all_that_are(asked: str) -> None:
    with pytest.raises(OptibenchError, match=r"There are: 0 NVIDIA A100-SXM4-80GB \(GPU-0a\), 1 NVIDIA L4"):
        gpus.chosen(asked, MIXED)


@pytest.mark.parametrize("asked", ["NVIDIA", "GPU-"])
def test_a_name_that_different_gpus_have_is_told_with_those(asked: str) -> None:
    with pytest.raises(OptibenchError, match=rf"--device {asked} may be 0 NVIDIA A100.*, 1 NVIDIA L4"):
        gpus.chosen(asked, MIXED)


def test_instances_of_a_divided_gpu_are_named_by_their_uuid_alone() -> None:
    assert gpus.chosen("MIG-b", DIVIDED).uuid == "MIG-b"
    assert gpus.chosen("0", DIVIDED[1:]).uuid == "MIG-b"  # there is only one
    for asked in ("0", "1g.6gb"):
        with pytest.raises(OptibenchError, match=r"may be 0 NVIDIA L4 MIG 1g.6gb \(MIG-a\), 0 NVIDIA L4 MIG"):
            gpus.chosen(asked, DIVIDED)


def test_all_cases_of_a_target_have_the_first_gpu_that_fits_it() -> None:
    known = targets.load()
    chosen = [known[name] for name in ("cpu", "cuda", "cuda-l4", "cuda-a100", "cuda-t4")]
    assert devices_of(chosen, host(*MIXED)) == {"cuda": "GPU-0a", "cuda-l4": "GPU-1a", "cuda-a100": "GPU-0a"}
    assert devices_of(chosen, gpus.only(host(*MIXED), "2")) == {"cuda": "GPU-2a", "cuda-l4": "GPU-2a"}
    assert devices_of(chosen, factories.host(gpus=("NVIDIA L4",))) == {}  # nothing tells its UUID


def test_a_target_is_held_against_the_gpu_that_was_named_and_not_its_neighbour() -> None:
    l4 = targets.load()["cuda-l4"]
    assert targets.mismatch(l4, host(*MIXED)) is None
    assert targets.mismatch(l4, gpus.only(host(*MIXED), "0")) == (
        "this machine has NVIDIA A100-SXM4-80GB (compute capability 8.0); the target is for L4, compute capability 8.9"
    )


def test_a_card_of_the_name_and_another_compute_capability_is_no_such_target() -> None:
    assert targets.mismatch(targets.load()["cuda-l4"], host(gpu(0, "NVIDIA L4", "8.6"))) is not None


def test_an_intel_gpu_beside_nvidias_is_found() -> None:
    here = host(*TWO)
    both = factories.host(gpus=(*here.gpus, "Intel GPU"), nvidia=here.nvidia)
    assert targets.mismatch(targets.load()["gpu-intel"], both) is None
    assert targets.mismatch(targets.load()["gpu-intel"], gpus.only(both, "1")) is None
    assert targets.mismatch(targets.load()["gpu-intel"], here) is not None


def test_without_a_driver_device_changes_nothing() -> None:
    here = factories.host()
    assert gpus.only(here, "1") == here
    assert gpus.only(host(*TWO), None) == host(*TWO)


def test_naming_a_gpu_for_a_processor_is_a_mistake() -> None:
    known = targets.load()
    with pytest.raises(OptibenchError, match=r"none of the targets asked for \(cpu\) runs on one"):
        check_names(Request(model="m", device="0"), known)
    with pytest.raises(OptibenchError, match="--device is empty"):
        check_names(Request(model="m", targets=("cuda",), device=" "), known)
    check_names(Request(model="m", targets=("cpu", "cuda"), device="0"), known)


def test_a_worker_sees_its_own_gpu_alone() -> None:
    env = targets.environment(targets.load()["cuda"], 2, "GPU-1a")
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1a"
    assert "CUDA_VISIBLE_DEVICES" not in targets.environment(targets.load()["cuda"], 2)


def test_without_nvidia_ml_py_the_reason_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    seen = nvml.look(0)
    assert seen.nvidia.trouble == "nvidia-ml-py is not installed: pip install nvidia-ml-py"
    assert nvml.watch("GPU-0a") is None
    why = targets.mismatch(targets.load()["cuda"], factories.host(nvidia=gpus.usable(seen, {})))
    assert why == f"NVIDIA's driver is here and offers no GPU: {seen.nvidia.trouble}"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "driver is gone"),
        (nvml.Look(nvidia=Nvidia(trouble="it did not answer within 30 s")), r"no longer answers \(it did not answer"),
        (nvml.Look(nvidia=Nvidia(gpus=TWO[1:])), r"no longer answers \(the driver does not know it"),
    ],
)
def test_a_gpu_that_is_gone_is_told_with_the_reason(seen: nvml.Look | None, words: str) -> None:
    assert re.search(words, gpus.gone("GPU-0a", seen) or "")
    assert gpus.gone("GPU-0a", nvml.Look(nvidia=Nvidia(gpus=TWO))) is None
