"""The doctor's findings of NVIDIA GPUs, from what was seen of other machines."""

from __future__ import annotations

from typing import Any

import pytest

from optibench import doctor, nvml
from optibench.checks import base, gpu
from optibench.gpu_values import Gpu, GpuReading, Nvidia
from optibench.values import Finding

FINE = nvml.State(
    persistence=True, mig=False, ecc=True, ecc_errors=0, limit_watts=72, default_limit_watts=72, most_sm_mhz=2040,
    limit_celsius=90, reading=GpuReading(sm_mhz=1980, celsius=54, held_back=("idle", "applications clocks")),
)  # fmt: skip


def look(*states: nvml.State, **of_driver: Any) -> nvml.Look:
    found = [Gpu(number=n, uuid=f"GPU-{n}", name="NVIDIA L4", compute_capability="8.9") for n, _ in enumerate(states)]
    nvidia = Nvidia(**{"driver": "580.95", "cuda": "13.0", "gpus": tuple(found), **of_driver})
    return nvml.Look(nvidia=nvidia, states={one.uuid: state for one, state in zip(found, states, strict=True)})


def state(**changes: Any) -> nvml.State:
    import msgspec

    return msgspec.structs.replace(FINE, **changes)


def found(seen: nvml.Look | None, *used: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in gpu.look(seen, used)}


def test_without_a_driver_there_is_one_finding_and_it_is_fine() -> None:
    assert found(None) == {"NVIDIA driver": Finding(name="NVIDIA driver", found="none here", fine=True)}


def test_a_card_that_is_as_it_should_be_has_nothing_against_it() -> None:
    assert [finding.name for finding in found(look(FINE)).values() if not finding.fine] == []
    assert found(look(FINE))["GPU power limit"].found == "72 W"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("GPU persistence mode", {"persistence": False}, "off"),
        ("GPU ECC", {"ecc_errors": 3}, "3 uncorrected errors"),
        ("GPU power limit", {"limit_watts": 60.0}, "60 of 72 W"),
        ("GPU clocks", {"reading": GpuReading(held_back=("power limit", "idle"))}, "held back by power limit"),
        ("GPU temperature", {"reading": GpuReading(celsius=88)}, "88 °C, slower from 90 °C"),
        ("other processes on the GPU", {"processes": (nvml.Process(pid=7, name="Xorg"),)}, "7 (Xorg)"),
        ("other processes on the GPU", {"processes": (nvml.Process(pid=8),)}, "8 (its name is not to be seen here)"),
    ],
)
def test_what_spoils_measurements_is_told_with_its_cost_and_what_to_do(
    name: str, change: dict[str, Any], words: str
) -> None:
    finding = found(look(state(**change)))[name]
    assert (finding.fine, finding.found) == (False, words)
    assert finding.costs
    assert finding.mend
    assert [one.name for one in found(look(state(**change))).values() if not one.fine] == [name]
    assert doctor.sentence(finding).endswith(finding.mend)


def test_a_divided_card_is_no_fault_and_its_price_is_told() -> None:
    finding = found(look(state(mig=True)))["GPU MIG mode"]
    assert (finding.fine, finding.found) == (True, "on")
    assert "share of the card" in finding.costs


def test_several_cards_are_told_apart_and_only_those_in_use_count() -> None:
    seen = look(FINE, state(persistence=False, limit_watts=60.0))
    assert found(seen)["GPU power limit"].found == "GPU 1: 60 of 72 W"
    assert found(seen, "GPU-0")["GPU power limit"].fine
    assert found(seen, "GPU-1")["GPU power limit"].found == "60 of 72 W"


def test_what_a_card_does_not_tell_is_neither_good_nor_bad() -> None:
    silent = found(look(nvml.State()))
    assert silent["GPU ECC"].found == silent["GPU clocks"].found == silent["GPU temperature"].found == base.ABSENT
    assert all(finding.fine for finding in silent.values())


@pytest.mark.parametrize(
    ("cuda", "wheels", "fine"),
    [
        ("13.0", {"torch": "13.0", "tensorrt": "12"}, True),
        ("12.8", {"torch": "12.9"}, True),  # within a major version any driver does
        ("12.8", {"torch": "13.0"}, False),
        ("12.2", {"onnxruntime": "12.8", "tensorrt-rtx": "13"}, False),
    ],
)
def test_a_driver_runs_what_was_built_for_its_major_version_or_an_older_one(
    cuda: str, wheels: dict[str, str], fine: bool
) -> None:
    finding = gpu.driver(look(FINE, cuda=cuda), wheels)
    assert finding.fine is fine
    if not fine:
        assert "is built for CUDA 13" in finding.found
        assert "Install a driver for CUDA 13, or builds for CUDA 12." in finding.mend


def test_a_driver_that_cannot_be_asked_is_told_in_its_own_words() -> None:
    seen = nvml.Look(nvidia=Nvidia(trouble="Driver/library version mismatch"))
    (finding,) = found(seen).values()
    assert (finding.fine, finding.found) == (False, "cannot be asked: Driver/library version mismatch")


def test_the_cuda_of_a_wheel_is_read_off_its_name_and_files() -> None:
    names = {
        "tensorrt_cu13_bindings-11.4.0.106.dist-info": ("tensorrt", "13"),
        "tensorrt_rtx_cu12_libs-1.7.1.dist-info": ("tensorrt_rtx", "12"),
        "tensorrt_cu12-10.16.1.11.dist-info": ("tensorrt", "12"),
        "onnxruntime_ep_nv_tensorrt_rtx_cu13-0.5.0.dist-info": ("onnxruntime_ep_nv_tensorrt_rtx", "13"),
        "nvidia_cublas_cu12-12.8.dist-info": None,
    }
    for name, wanted in names.items():
        match = gpu.CUDA_OF_NAME.fullmatch(name)
        assert (match and match.groups()) == wanted, name
    assert gpu.CUDA_OF_ONNXRUNTIME.search("package_name = 'onnxruntime-gpu'\ncuda_version = '12.8'\n")[1] == "12.8"  # type: ignore[index]
