"""Submissions made of planted speed-ups and noise, as runs leave them, and edited as a person would edit one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from optibench import bundle, store
from optibench.comparison import comparison_from_records
from optibench.leaderboard import submission
from optibench.strict_json import seal_of
from optibench.values import Burst, Case, Executed, Gauged, Record, Score, Series, Shape, Workload
from tests.factories import data, host, measurement, model, record

REFERENCE = Case(target="cpu", backend="pytorch", precision="fp32")
TWIN = msgspec.structs.replace(REFERENCE, copy=1)
INT8 = Case(target="cpu", backend="onnxruntime", precision="int8")
BF16 = Case(target="cpu", backend="openvino", precision="bf16")
SPEEDUPS = {INT8: 2.5, BF16: 1.6}
SHAPE = Shape(batch=1, length=128)
PEAKS = {"fp32": 2e11, "bf16": 4e11, "int8": 8e11}
MULTIPLY_ADDS = 1_350_000_000
EXAMPLES = 60

Lines = list[dict[str, Any]]


def records_of(
    speedups: Mapping[Case, float] = SPEEDUPS,
    *,
    seed: int = 0,
    rounds: int = 5,
    blocks: int = 25,
    shape: Shape = SHAPE,
    twin: float = 1.0,
    right: Mapping[Case, float] | None = None,
    **changes: Any,
) -> list[Record]:
    """An official run's records: the reference takes 30 ms; ``right`` is each case's share of right answers."""
    rng = np.random.default_rng(seed)
    workload = Workload(shapes=(shape,), dataset="reviews.csv", rounds=min(rounds, 5))
    labels = tuple(float(n % 2) for n in range(EXAMPLES))
    common = {
        "workload": workload,
        "host": host(),
        "model": model(task="text-classification"),
        "dataset": data(count=EXAMPLES),
        "calibration": data(sha256="ef" * 32, count=32),
        "multiply_adds": {shape.name: MULTIPLY_ADDS},
        "multiplied_weights": 10_000_000,
        "created": "2026-11-20T10:00:00+00:00",
        **changes,
    }
    found = []
    for number in range(1, rounds + 1):
        for case, speedup in {REFERENCE: 1.0, TWIN: twin, **speedups}.items():
            # The twin's processes differ from the reference's, on average by nothing: an A/A check that always passes.
            own = 0.004 * (number % 2 * 2 - 1) * (number < rounds or rounds % 2 == 0)
            centre = 30e6 / speedup * np.exp(own if case == TWIN else 0 if case == REFERENCE else rng.normal(0, 0.003))
            bursts = tuple(
                Burst(block=block, wall_ns=calls, cpu_ns=2 * sum(calls), switches=0)
                for block in range(blocks)
                for calls in [tuple(int(ns) for ns in centre * np.exp(rng.normal(0, 0.01, 3)))]
            )
            series = Series(
                shape=shape, first_call_seconds=0.1, warmup_calls=5, settled=True, peak_bytes=10**8, bursts=bursts
            )
            judged = number == 1 and not case.copy
            wrong = EXAMPLES - int(EXAMPLES * (right or {}).get(case, 1.0))
            answers = tuple(1 - label if place < wrong else label for place, label in enumerate(labels))
            ran = Executed(provider=case.backend, precision=case.precision, threads=2)
            value = 1 - wrong / EXAMPLES
            score = Score(metric="accuracy", value=value, count=EXAMPLES, predictions=answers, labels=labels)
            scores = (score,) if judged else ()
            made = measurement(series, executed=ran if judged else None)
            found.append(record(**{"case": case, "round": number, "measurement": made, "scores": scores, **common}))
    for name, peak in PEAKS.items():
        limit = Case(target="cpu", backend="limits", precision=name)
        burst = Burst(block=0, wall_ns=(10**7, 10**7 + 7), cpu_ns=4 * 10**7, switches=0)
        gauged = (Gauged(amount=int(peak / 100), burst=burst, detail={"how": "a product of matrices", "threads": 2}),)
        found.append(record(**{"case": limit, "round": 1, "measurement": None, "gauged": gauged, **common}))
    return found


def write_run(folder: Path, records: list[Record], **told: Any) -> Path:
    """The finished run's folder."""
    run = store.create(folder, "minilm")
    for one in records:
        run.append(one)
    comparison = comparison_from_records(
        records, **{"command": "optibench compare minilm", "created": records[-1].created, **told}
    )
    run.write(store.COMPARISON, store.json_text(comparison).encode())
    run.write(store.PLAN, b"{}")
    return folder


def write_submission(folder: Path, **changes: Any) -> Path:
    """A sound submission in ``folder``, under the name that it goes by."""
    run = write_run(folder.parent / f".run-{len(list(folder.parent.glob('.run-*')))}", records_of(**changes))
    packed = submission.pack(run)
    folder.mkdir(exist_ok=True)
    (folder / packed.name).write_bytes(packed.data)
    return folder / packed.name


def edited(path: Path, change: Callable[[Lines], Any], *, honest: bool = True, out: Path | None = None) -> Path:
    """The submission with its records changed by hand, each line's digest and the manifest's made anew, as somebody
    would who knows how. ``honest``: its comparison is what the changed records give."""
    files = dict(bundle.read(path)[1])
    lines = [json.loads(line) for line in files[store.RECORDS].splitlines()]
    change(lines)
    files[store.RECORDS] = b"".join(sealed(line) for line in lines)
    if honest:
        records, _ = store.records_from_bytes(files[store.RECORDS], "")
        old = json.loads(files[store.COMPARISON])
        made = comparison_from_records(records, command=old["command"], created=old["created"])
        files[store.COMPARISON] = store.json_text(made).encode()
    return rewritten(out or path, files)


def sealed(line: dict[str, Any]) -> bytes:
    return json.dumps({**line, "sha256": seal_of(line)}).encode() + b"\n"


def rewritten(path: Path, files: Mapping[str, bytes]) -> Path:
    path.write_bytes(bundle.packed(path.name, files)[1])
    return path


def raw(path: Path) -> dict[str, bytes]:
    """The members as a zip program shows them."""
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def of(lines: Lines, case: Case, number: int = 1) -> dict[str, Any]:
    """The line of a case in a round."""
    plain = msgspec.to_builtins(case)
    return next(line for line in lines if line["case"] == plain and line["round"] == number)


def bursts_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    return line["measurement"]["series"][0]["bursts"]  # type: ignore[no-any-return]
