"""Records how bursts vary on a real machine: ``python -m tests.trust.record quiet|neighbour [ROUNDS]``.

Two copies of each of four builds of minilm take turns; every burst becomes a line of tests/data/noise/NAME.csv. With
``neighbour`` a process burns one core for 1.5 of every 4.5 seconds meanwhile.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

from optibench.values import Burst, Case, Record
from tests.trust import real

BUILDS = ("pytorch/fp32", "onnxruntime/fp32", "openvino/fp32", "openvino/int8")
DATA = Path(__file__).parent.parent / "data" / "noise"
COLUMNS = ("round", "block", "case", "start_seconds", "median_us", "calls", "call_spread", "cpu_share", "switches")


def line_of(record: Record, burst: Burst, start_seconds: float) -> tuple[object, ...]:
    """A burst: its calls' median and their spread (sd over median), CPU time per wall time, switches."""
    median, wall = statistics.median(burst.wall_ns), sum(burst.wall_ns)
    spread = statistics.pstdev(burst.wall_ns) / median
    counted = (f"{median / 1e3:.0f}", len(burst.wall_ns), f"{spread:.4f}", f"{burst.cpu_ns / wall:.3f}", burst.switches)
    return (record.round, burst.block, name_of(record.case), f"{start_seconds:.2f}", *counted)


def name_of(case: Case) -> str:
    return f"{case.variant}:{case.backend}/{case.precision}".removeprefix(":")


def main(name: str, rounds: int) -> None:
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        bench = real.bench(Path(folder), BUILDS)
        cases = [real.case(build, again) for build in BUILDS for again in (False, True)]
        print(real.machine(), flush=True)
        with real.neighbour() if name == "neighbour" else nullcontext():
            for number in range(1, rounds + 1):
                records = bench.round(cases, number)
                starts = {(stamp["case"], stamp["block"]): stamp["start"] for stamp in bench.stamps}
                for record in records:
                    assert record.measurement, record.reason
                    for burst in record.measurement.series[0].bursts:
                        start = starts[record.case, burst.block] - min(starts.values())
                        lines.append(line_of(record, burst, start))
                print(f"{name}: round {number} of {rounds}", flush=True)
        print(real.machine())
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 12)
