"""What a GPU's sensors say of a run: warnings, energy, memory. Pure functions of records (docs/gpu.md)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from optibench.gpu_values import Gpu, GpuReading
from optibench.nvml import AS_SET
from optibench.values import Record, Series

CLOCK_MOVED = 0.05
"""A clock that moved by more between the tenths of a case's readings at both ends: so much do its latencies move."""
HELD_SHARE = 0.05
"""Of a case's readings; less often, nothing that counts was held back."""


def gpus(records: Iterable[Record]) -> dict[str, Gpu]:
    """The GPU that each target's cases ran on."""
    return {record.case.target: record.gpu.gpu for record in records if record.gpu}


def peak_bytes(series: Iterable[Series]) -> int | None:
    """The most device memory that a process of the case held after a burst; None where it is not told."""
    held = [one.process_bytes for each in series for one in each.readings if one.process_bytes]
    return max(held, default=None)


def joules_per_call(series: Iterable[Series]) -> float | None:
    """Over all runs of calls that were made for it; None where the GPU has no counter."""
    spent = [each.energy for each in series if each.energy]
    return sum(one.joules for one in spent) / sum(one.calls for one in spent) if spent else None


def warnings(records: Sequence[Record]) -> list[str]:
    """What moved, or held clocks back, while cases were timed; and cases of one target on several GPUs."""
    of_case: dict[str, list[GpuReading]] = {}
    limits: dict[str, int] = {}
    for record in records:
        if record.measurement and record.gpu:
            found = [one for series in record.measurement.series for one in series.readings]
            of_case.setdefault(record.case.name, []).extend(found)
            if record.gpu.limit_celsius:
                limits[record.case.name] = record.gpu.limit_celsius
    return [*_clocks(of_case), *_held_back(of_case), *_heat(of_case, limits), *_several(records)]


def _clocks(of_case: dict[str, list[GpuReading]]) -> Iterator[str]:
    for what, field in (("SM", "sm_mhz"), ("memory", "memory_mhz")):
        moved = []
        for name, readings in of_case.items():
            low, high = _ends([mhz for one in readings if (mhz := getattr(one, field))])
            if high and (high - low) / high > CLOCK_MOVED:
                moved.append(f"{name} {low} to {high} MHz")
        if moved:
            yield (
                f"The GPU's {what} clock moved by more than {CLOCK_MOVED:.0%} while cases were timed "
                f"({', '.join(moved)}): latencies moved with it. A fixed one stays (as root: nvidia-smi -lgc MHZ)."
            )


def _ends(values: Sequence[int]) -> tuple[int, int]:
    """The values a tenth from both ends, so that one odd reading moves nothing; zeros for none."""
    ordered = sorted(values)
    place = len(ordered) // 10
    return (ordered[place], ordered[-1 - place]) if ordered else (0, 0)


def _held_back(of_case: dict[str, list[GpuReading]]) -> Iterator[str]:
    held: dict[str, list[str]] = {}
    for name, readings in of_case.items():
        for reason in dict.fromkeys(reason for one in readings for reason in one.held_back if reason not in AS_SET):
            share = sum(reason in one.held_back for one in readings) / len(readings)
            if share > HELD_SHARE:
                held.setdefault(reason, []).append(f"{name} in {share:.0%} of its bursts")
    for reason, cases in held.items():
        yield f"The GPU's clock was held back ({reason}): {', '.join(cases)}."


def _heat(of_case: dict[str, list[GpuReading]], limits: dict[str, int]) -> Iterator[str]:
    for name, limit in limits.items():
        hottest = max((one.celsius for one in of_case[name] if one.celsius), default=0)
        if hottest >= limit:
            yield f"The GPU reached {hottest} °C with {name}, and slows itself down from {limit} °C on."


def _several(records: Sequence[Record]) -> Iterator[str]:
    """A run that was resumed elsewhere, or records that were put together by hand."""
    seen: dict[str, set[str]] = {}
    for record in records:
        if record.gpu:
            seen.setdefault(record.case.target, set()).add(record.gpu.gpu.uuid)
    for target, uuids in seen.items():
        if len(uuids) > 1:
            yield f"Cases of {target} ran on {len(uuids)} GPUs ({', '.join(sorted(uuids))}): they do not compare."
