"""Records how bursts vary on a real machine: ``python -m tests.trust.record quiet|neighbour [ROUNDS]``.

Two copies of each of four builds of minilm take turns; every burst becomes a line of tests/data/noise/NAME.csv. With
``neighbour`` a process burns one core for 1.5 of every 4.5 seconds meanwhile. ``quiet RUN`` takes the bursts of a
finished run's folder instead.
"""

from __future__ import annotations

import csv
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from optibench.store import open_run
from optibench.values import Record
from tests.trust import real

BUILDS = ("pytorch/fp32", "onnxruntime/fp32", "openvino/fp32", "openvino/int8")
DATA = Path(__file__).parent.parent / "data" / "noise"
COLUMNS = ("round", "block", "case", "median_us", "calls", "call_spread", "cpu_share", "switches")


def lines_of(record: Record) -> Iterator[tuple[object, ...]]:
    """A line a burst: its calls' median and their spread (sd over median), CPU time per wall time, switches."""
    case = f"{record.case.backend}/{record.case.precision}"
    if record.case.copy or record.case.variant:
        case = f"again:{case}"
    for burst in record.measurement.series[0].bursts if record.measurement else ():
        median, wall = statistics.median(burst.wall_ns), sum(burst.wall_ns)
        spread = statistics.pstdev(burst.wall_ns) / median
        counted = (f"{median / 1e3:.0f}", len(burst.wall_ns), f"{spread:.4f}", f"{burst.cpu_ns / wall:.3f}")
        yield (record.round, burst.block, case, *counted, burst.switches)


def records(beside_neighbour: bool, rounds: int) -> Iterator[Record]:
    """Rounds of twins, measured now."""
    with tempfile.TemporaryDirectory() as folder:
        bench = real.bench(Path(folder), BUILDS)
        cases = [real.case(build, again) for build in BUILDS for again in (False, True)]
        print(real.machine(), flush=True)
        with real.neighbour() if beside_neighbour else nullcontext():
            for number in range(1, rounds + 1):
                yield from bench.round(cases, number)
                print(f"round {number} of {rounds}; load {os.getloadavg()[0]:.1f}", flush=True)


def main(name: str, what: str = "8") -> None:
    found = records(name == "neighbour", int(what)) if what.isdigit() else open_run(Path(what)).records()[0]
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for record in found:  # a round at a time, so that what was recorded before an interruption is of use
            writer.writerows(lines_of(record))
            file.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
