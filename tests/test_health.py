"""What a GPU's sensors say of a run, from records; and energy by a counter that moves in steps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from optibench import comparison, energy, health
from optibench.gpu_values import Energy, Gpu, GpuReading, GpuRound
from optibench.render import csv, text
from optibench.values import Case, Executed, Record
from tests import factories

STEADY = [GpuReading(sm_mhz=1980, memory_mhz=6251, celsius=60, watts=50.0, process_bytes=500)] * 20


def record(
    readings: list[GpuReading], uuid: str = "GPU-0", number: int = 0, spent: Energy | None = None, **more: Any
) -> Record:
    base = factories.record(round=number, **more)
    assert base.measurement is not None
    (series,) = base.measurement.series
    series = msgspec.structs.replace(series, readings=tuple(readings), energy=spent)
    gpu = Gpu(number=0, uuid=uuid, name="NVIDIA L4", compute_capability="8.9")
    return msgspec.structs.replace(
        base,
        measurement=msgspec.structs.replace(base.measurement, series=(series,)),
        gpu=GpuRound(gpu=gpu, before=STEADY[0], after=STEADY[0], limit_celsius=90),
    )


def readings(count: int, **what: Any) -> list[GpuReading]:
    return [GpuReading(**what)] * count


def test_a_steady_gpu_gives_no_warning() -> None:
    assert health.warnings([record(STEADY), record(STEADY, number=1)]) == []
    chosen = readings(20, sm_mhz=1500, held_back=("applications clocks", "idle"))
    assert health.warnings([record(chosen)]) == []


def test_a_clock_that_moves_is_told_and_one_odd_reading_is_not() -> None:
    assert health.warnings([record([*STEADY, *readings(1, sm_mhz=600)])]) == []
    (warning,) = health.warnings([record(STEADY), record(readings(20, sm_mhz=1700), number=1)])
    assert "SM clock moved by more than 5%" in warning
    assert "cpu/onnxruntime/int8-dynamic 1700 to 1980 MHz" in warning


def test_the_memorys_clock_counts_too() -> None:
    (warning,) = health.warnings([record([*readings(10, memory_mhz=6251), *readings(10, memory_mhz=405)])])
    assert "memory clock moved" in warning


def test_what_held_the_clock_back_is_told_with_how_often() -> None:
    held = [*STEADY[:15], *readings(5, sm_mhz=1980, held_back=("power limit", "idle"))]
    (warning,) = health.warnings([record(held)])
    assert warning == (
        "The GPU's clock was held back (power limit): cpu/onnxruntime/int8-dynamic in 25% of its bursts."
    )


def test_a_card_at_its_limit_of_heat_is_told() -> None:
    (warning,) = health.warnings([record([*STEADY, *readings(3, sm_mhz=1980, celsius=91)])])
    assert "reached 91 °C" in warning
    assert "from 90 °C on" in warning


def test_cases_of_one_target_on_two_gpus_do_not_compare() -> None:
    (warning,) = health.warnings([record(STEADY), record(STEADY, "GPU-1", 1)])
    assert "Cases of cpu ran on 2 GPUs (GPU-0, GPU-1)" in warning


def test_memory_energy_and_the_devices_own_time_stand_in_the_comparison() -> None:
    executed = Executed(provider="p", precision="int8", threads=2, detail={"device_seconds": 0.002})
    one = record([*STEADY, *readings(1, process_bytes=900)], spent=Energy(joules=30.0, calls=200, seconds=1.0))
    two = record(STEADY, number=1, spent=Energy(joules=50.0, calls=200, seconds=1.1))
    assert one.measurement is not None
    one = msgspec.structs.replace(one, measurement=msgspec.structs.replace(one.measurement, executed=executed))
    found = comparison.comparison_from_records([one, two], command="optibench compare", created="")
    (case,) = found.cases
    assert case.energy_joules_per_call == pytest.approx(0.2)
    assert case.device_memory_bytes == 900
    assert case.device_seconds == 0.002
    assert found.gpus["cpu"].uuid == "GPU-0"
    shown = text.render(found)
    assert "energy a call" in shown
    assert "200 mJ" in shown
    assert "2.00 ms" in shown
    assert "cpu ran on GPU 0: NVIDIA L4 (GPU-0), compute capability 8.9" in shown
    assert "energy_joules_per_call" in csv.render(found).splitlines()[0]


def test_without_a_gpu_nothing_of_it_is_shown_and_fields_are_null() -> None:
    found = comparison.comparison_from_records([factories.record()], command="optibench compare", created="")
    (case,) = found.cases
    assert (case.energy_joules_per_call, case.device_memory_bytes, case.device_seconds) == (None, None, None)
    shown = text.render(found)
    assert "energy" not in shown.lower()
    assert "GPU" not in shown


def test_records_of_before_there_were_readings_are_read() -> None:
    case = Case(target="cuda", backend="pytorch", precision="fp32")
    plain = msgspec.to_builtins(record(STEADY, case=case))
    for name in ("gpu", "published"):
        del plain[name]
    for series in plain["measurement"]["series"]:
        del series["readings"], series["energy"]
    del plain["host"]["nvidia"]
    old = msgspec.convert(plain, Record)
    assert (old.gpu, old.host.nvidia) == (None, None)
    assert old.case == case


class Counter:
    """A GPU of ``watts`` whose counter moves every ``step`` seconds; each call takes ``call`` seconds."""

    def __init__(self, watts: float, step: float, call: float) -> None:
        self.now, self.watts, self.step, self.seconds = 0.0, watts, step, call

    def call(self) -> None:
        self.now += self.seconds

    def millijoules(self) -> int:
        return int(int(self.now / self.step) * self.step * self.watts * 1000)

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize(("step", "call"), [(0.02, 0.0005), (0.1, 0.002), (0.1, 0.03), (0.02, 0.15), (0.1, 3.0)])
def test_energy_is_right_whatever_the_counters_step_and_the_calls_length(step: float, call: float) -> None:
    gpu = Counter(50.0, step, call)
    found = energy.spent(gpu.call, gpu.millijoules, 1.0, gpu.clock)
    assert found is not None
    assert found.seconds >= 1.0
    assert found.joules / found.calls == pytest.approx(50.0 * call, rel=0.05)


def test_a_counter_that_stands_still_ends_the_calls() -> None:
    gpu = Counter(50.0, 1e9, 0.01)
    assert energy.spent(gpu.call, gpu.millijoules, 1.0, gpu.clock) is None
    assert gpu.now < 3


def test_a_counter_that_is_reset_gives_nothing() -> None:
    counted = iter([100, 120, 5, 10])
    gpu = Counter(50.0, 0.1, 0.01)
    assert energy.spent(gpu.call, lambda: next(counted), 1.0, gpu.clock) is None
