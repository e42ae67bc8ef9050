"""Runs as they lie on a disk, made of planted speed-ups: no process, no model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from optibench import store
from optibench.comparison import comparison_from_records
from optibench.values import Burst, Case, Record, Series, Shape, Workload
from tests.factories import host, measurement, model, record

START = datetime(2026, 10, 1, 3, tzinfo=UTC)
SHAPE = Shape(batch=1, length=128)
REFERENCE = Case(target="cpu", backend="pytorch", precision="fp32")
INT8 = Case(target="cpu", backend="onnxruntime", precision="int8")
OPENVINO = Case(target="cpu", backend="openvino", precision="int8")


def records_of(
    speedups: Mapping[Case, float],
    *,
    day: int = 0,
    rounds: int = 5,
    noise: float = 0.005,
    slow: float = 1.0,
    shape: Shape = SHAPE,
    **changes: Any,
) -> list[Record]:
    """A run's records on a day: the reference takes 30 ms (times ``slow``, as everything does on a slower machine)."""
    rng = np.random.default_rng([day, rounds])
    workload = Workload(shapes=(shape,))
    cases = {REFERENCE: 1.0, msgspec.structs.replace(REFERENCE, copy=1): 1.0, **speedups}
    found = []
    for number in range(1, rounds + 1):
        for case, speedup in cases.items():
            call = int(30e6 * slow / speedup * np.exp(rng.normal(0, noise)))
            bursts = tuple(Burst(block=b, wall_ns=(call, call), cpu_ns=4 * call, switches=0) for b in range(12))
            series = Series(
                shape=shape, first_call_seconds=0.1, warmup_calls=5, settled=True, peak_bytes=1, bursts=bursts
            )
            found.append(
                record(
                    **{
                        "case": case,
                        "workload": workload,
                        "round": number,
                        "measurement": measurement(series),
                        "created": (START + timedelta(days=day, minutes=number)).isoformat(timespec="seconds"),
                        "host": host(),
                        "model": model(),
                        **changes,
                    }
                )
            )
    return found


def write_run(folder: Path, records: list[Record], *, finished: bool = True) -> Path:
    """The run's folder, as far as history reads it."""
    run = store.create(folder, "minilm")
    for one in records:
        run.append(one)
    if finished:
        (folder / "comparison.json").write_text("{}")
    return folder


def write_history(root: Path, speedups: list[float], **more: Any) -> Path:
    """A folder of runs, one a day, of one case of these speed-ups."""
    for day, speedup in enumerate(speedups):
        write_run(root / f"run-{day:02}", records_of({INT8: speedup}, day=day, **more))
    return root


def write_finished(folder: Path, records: list[Record], **more: Any) -> Path:
    """The run's folder with the comparison of its records, as ``optibench compare`` leaves it."""
    write_run(folder, records, finished=False)
    found = comparison_from_records(
        records, command="optibench compare minilm", created=records[0].created or "2026-10-01T03:00:00+00:00", **more
    )
    store.open_run(folder).write_comparison(found, {})
    return folder
