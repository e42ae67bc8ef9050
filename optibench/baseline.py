"""A baseline: what the gate needs to know of a run, as one small file that is fit for committing and reading a diff of.

The run that is judged is turned into the same value, so that a gate compares two values of one type.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from optibench import __version__, host, plugins, store
from optibench.errors import OptibenchError
from optibench.samples import Samples, builds, reference_of, untwinned
from optibench.strict_json import UNREADABLE, sealed_from_json, sealed_json
from optibench.values import Case, DataRef, Finding, Host, ModelRef, Record, Shape, Status, Value
from optibench.yardstick import FunctionRound

BASELINE_SCHEMA = 1
BASELINES = Path("reports") / "baselines"
MOST_PACKED_BYTES = 32 << 20
"""Of one case's answers, unpacked; a file of some kB could promise gigabytes."""
MERGING = re.compile(rb"^(?:<{7} |={7}$|>{7} )", re.MULTILINE)


class Hardware(Value, frozen=True, kw_only=True):
    """What must be the same for two speeds to be comparable."""

    cpu_model: str
    isa: tuple[str, ...]
    cores_used: int
    gpus: tuple[str, ...]


class ShapeFigures(Value, frozen=True, kw_only=True):
    """A case at one shape. ``log_ratios``: a value a round, log(its time / the reference's in the same round).
    ``peak_bytes``: the peak memory of each round's process. Speed-up and p50 are for readers; nothing is judged by
    them."""

    shape: Shape
    speedup: float | None
    p50_seconds: float | None
    log_ratios: tuple[float, ...]
    peak_bytes: tuple[int, ...]


class CaseFigures(Value, frozen=True, kw_only=True):
    """One case. ``outcomes``: a number an example, packed, so that two runs can be compared example by example."""

    case: str
    status: Status = "ok"
    reason: str | None = None
    artifact_bytes: int | None = None
    artifact_sha256: str | None = None
    scores: dict[str, float] = {}
    outcomes: str = ""
    shapes: tuple[ShapeFigures, ...] = ()

    def at(self, shape: Shape) -> ShapeFigures | None:
        """Its figures at that shape; None where it was not measured there."""
        return next((figures for figures in self.shapes if figures.shape == shape), None)


class Baseline(Value, frozen=True, kw_only=True):
    """A run in short. ``reference_runtime``: versions of what runs the reference, the yardstick of every ratio."""

    kind: Literal["optibench baseline"] = "optibench baseline"
    schema: int = BASELINE_SCHEMA
    optibench_version: str
    created: str
    model: ModelRef
    shapes: tuple[Shape, ...]
    dataset: DataRef | None
    calibration: DataRef | None
    seed: int
    tier: str
    accuracy_floor: float
    hardware: Hardware
    packages: dict[str, str]
    reference_runtime: dict[str, str]
    findings: tuple[Finding, ...] = ()
    """What the doctor held against the machine."""
    reference: str
    labels: str = ""
    cases: tuple[CaseFigures, ...]
    sha256: str = ""

    def case(self, name: str) -> CaseFigures | None:
        """The case of that name, if it is there."""
        return next((case for case in self.cases if case.case == name), None)


def baseline_from_records(records: Sequence[Record], variant: str = "") -> Baseline:
    """A run's records in short: those of its cases that are of ``variant``. Errors: nothing was measured, no
    reference, a burst without samples."""
    records = builds(records)
    check_samples(records)
    reference = reference_of(records)
    if reference is None or not any(record.measurement for record in records):
        raise OptibenchError(
            "Nothing was measured in this run, or not the reference: there are no ratios to compare. "
            "Its report says why; measure again with optibench compare."
        )
    last = next(record for record in reversed(records) if record.case.variant == variant)
    scored = next((record for record in records if record.scores), None)
    cases = dict.fromkeys(untwinned(record.case) for record in records if record.case.variant == variant)
    samples = Samples(records)
    return Baseline(
        optibench_version=__version__,
        created=last.created,
        model=last.model,
        shapes=last.workload.shapes,
        dataset=next((record.dataset for record in records if record.dataset), None),
        calibration=next((record.calibration for record in records if record.calibration), None),
        seed=last.workload.seed,
        tier=last.workload.tier,
        accuracy_floor=last.workload.accuracy_floor,
        hardware=hardware_of(last.host, last.threads),
        packages=last.host.packages,
        reference_runtime=_runtime(reference, last.host),
        findings=tuple(finding for finding in last.findings if not finding.fine),
        reference=reference.name,
        labels=packed(scored.scores[0].labels) if scored else "",
        cases=tuple(figures_of(records, samples, case, reference) for case in cases),
    )


def figures_of(records: Sequence[Record], samples: Samples, case: Case, reference: Case) -> CaseFigures:
    """One case of a run, its ratios taken to ``reference``."""
    mine = [record for record in records if record.case == case]
    broken = next((record for record in mine if record.status != "ok"), None)
    artifact = next((record.artifact for record in reversed(mine) if record.artifact), None)
    scores = next((record.scores for record in mine if record.scores), ())
    measured = dict.fromkeys(s.shape for record in mine if record.measurement for s in record.measurement.series)
    return CaseFigures(
        case=msgspec.structs.replace(case, variant="").name,
        status=broken.status if broken else "ok",
        reason=broken.reason if broken else None,
        artifact_bytes=artifact.bytes if artifact else None,
        artifact_sha256=artifact.sha256 if artifact else None,
        scores={score.metric: round(score.value, 6) for score in scores},
        outcomes=packed(scores[0].predictions) if scores else "",
        shapes=tuple(_shape_figures(records, samples, case, reference, shape) for shape in measured),
    )


def _shape_figures(
    records: Sequence[Record], samples: Samples, case: Case, reference: Case, shape: Shape
) -> ShapeFigures:
    import numpy as np

    values = samples.round_values(case, reference, shape)
    kept = [one for s in samples.of(case, shape).values() for one, keep in zip(s.bursts, s.kept, strict=True) if keep]
    calls = [wall for burst in kept for wall in burst.wall_ns]
    series = [s for r in records if r.case == case and r.measurement for s in r.measurement.series if s.shape == shape]
    return ShapeFigures(
        shape=shape,
        speedup=round(float(np.exp(-np.mean(values))), 4) if values else None,
        p50_seconds=float(f"{np.median(calls) / 1e9:.4g}") if calls else None,
        log_ratios=() if case == reference else tuple(round(value, 5) for value in values),
        peak_bytes=tuple(one.peak_bytes for one in series if one.peak_bytes > 0),
    )


def check_samples(records: Sequence[Record]) -> None:
    """Error: a measured burst that holds no calls, or one that took no time: no statistics may be made of it."""
    for record in records:
        for series in record.measurement.series if record.measurement else ():
            if any(not burst.wall_ns or min(burst.wall_ns) <= 0 for burst in series.bursts):
                raise OptibenchError(
                    f"{record.case.name} at {series.shape.name} has a burst without samples in round {record.round}. "
                    "The records are damaged: measure again with optibench compare."
                )


def hardware_of(host: Host, threads: int) -> Hardware:
    """The part of a machine that decides whether speeds are comparable. ``threads``: the cores a case may use."""
    return Hardware(cpu_model=host.cpu_model, isa=host.isa, cores_used=threads, gpus=host.gpus)


def _runtime(reference: Case, host: Host) -> dict[str, str]:
    names = getattr(plugins.load("backend", reference.backend), "RUNTIME", ())
    # A runtime may come by one distribution or another; the first stands for one that is not known.
    here = [name for name in names if name in host.packages] or names[:1]
    return {name: host.packages.get(name, "not known") for name in here}


# Functions (pytest_plugin.py)

FUNCTIONS = ModelRef(id="functions", revision="", task="graph", source="local", weights_sha256="")


def function_figures(name: str, rounds: Sequence[FunctionRound]) -> CaseFigures:
    """A Python function that took turns with the yardstick, as a case."""
    import statistics

    logs = tuple(round(one.log_ratio, 5) for one in rounds)
    seconds = statistics.median(second for one in rounds for second in one.seconds)
    shape = Shape(batch=1, length=0)
    figures = ShapeFigures(
        shape=shape, speedup=None, p50_seconds=float(f"{seconds:.4g}"), log_ratios=logs, peak_bytes=()
    )
    return CaseFigures(case=name, shapes=(figures,))


def baseline_of_functions(cases: tuple[CaseFigures, ...]) -> Baseline:
    """Functions that were timed in this process, as the gate judges them."""
    here = host.describe()
    return Baseline(
        optibench_version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=FUNCTIONS,
        shapes=(Shape(batch=1, length=0),),
        dataset=None,
        calibration=None,
        seed=0,
        tier="official",
        accuracy_floor=0.99,
        hardware=hardware_of(here, host.usable_cores()),
        packages=here.packages,
        reference_runtime={"python": here.python},
        reference="yardstick",
        cases=cases,
    )


# Numbers in one line


def packed(values: Sequence[float | tuple[float, ...]]) -> str:
    """Numbers (of several an example: one example's after the other) as one line of text: bytes where all are small
    whole numbers, else 32-bit floats; compressed."""
    import numpy as np

    array = np.asarray(values, np.float64).ravel()
    small = bool(((array >= 0) & (array <= 255) & (array == np.floor(array))).all())
    kind = "uint8" if small else "<f4"
    return f"{kind}:{base64.b64encode(zlib.compress(array.astype(kind).tobytes(), 9)).decode()}" if len(array) else ""


def unpacked(text: str) -> tuple[float, ...]:
    """The numbers that ``packed`` made a line of. Error: it made none of that, or they are more than any run has."""
    import numpy as np

    kind, _, data = text.partition(":")
    if not data:
        return ()
    try:
        unzip = zlib.decompressobj()
        plain = unzip.decompress(base64.b64decode(data), MOST_PACKED_BYTES)
        if not unzip.eof:
            raise ValueError("they are cut off, or too many")
        return tuple(np.frombuffer(plain, kind).astype(float).tolist())
    except (ValueError, TypeError, zlib.error) as error:
        raise OptibenchError(
            f"The answers in the baseline cannot be read: {error}. Write it anew from a run: "
            "optibench baseline update RUN"
        ) from error


# Files


def default_path(model_id: str) -> Path:
    """Where a model's baseline is kept: reports/baselines/MODEL.json."""
    return BASELINES / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', model_id).strip('-.') or 'model'}.json"


def as_yardstick(run: Baseline) -> Baseline:
    """A run as others are held against it: without the cases that were not measured, or broke."""
    return msgspec.structs.replace(run, cases=tuple(c for c in run.cases if c.status == "ok" and c.shapes))


def of_run(path: Path) -> Baseline:
    """The run in this folder (or pytest-benchmark's JSON with our plugin's part), as a yardstick. Errors: no run is
    there, it is damaged, nothing was measured."""
    return as_yardstick(read(path) if path.is_file() else baseline_from_records(store.open_run(path).records()[0]))


def text_of(baseline: Baseline) -> str:
    """The file's text: indented, a list of numbers on one line."""
    text = msgspec.json.format(sealed_json(baseline), indent=2).decode()
    # A line break inside a string is written \n, so this meets lists alone.
    return (
        re.sub(
            r"\[\s*\n[-\d.e+,\s]+\]",
            lambda found: "[" + ", ".join(found[0][1:-1].replace(",", " ").split()) + "]",
            text,
        )
        + "\n"
    )


def write(baseline: Baseline, path: Path) -> None:
    """Writes the file whole, and its folders. Error: it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_whole(path, text_of(baseline).encode())
    except OSError as error:
        raise OptibenchError(f"The baseline {path} cannot be written: {error.strerror or error}.") from error


def read(path: Path) -> Baseline:
    """A baseline's file. Errors: it is missing, no baseline, of another schema, or was edited."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise OptibenchError(
            f"There is no baseline {path}. Save one from a run: optibench baseline save RUN --out {path}"
        ) from error
    except OSError as error:
        raise OptibenchError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        plain = msgspec.json.decode(data)
        if "benchmarks" in plain and "optibench" in plain:  # pytest-benchmark's JSON, with what our plugin adds to it
            plain = plain["optibench"]
            data = msgspec.json.encode(plain)
        kind = plain.get("kind")
    except (*UNREADABLE, AttributeError, TypeError):
        kind = None
    if kind is None and MERGING.search(data):
        raise OptibenchError(
            f"{path} holds the marks of a merge that was not finished. Take one of its two sides, whole, "
            "or write it anew from a run: optibench baseline update RUN"
        )
    if kind != "optibench baseline":
        raise OptibenchError(
            f"{path} is not a baseline: expected a file that optibench baseline save wrote, or a run's folder."
        )
    mend = "Write it anew from a run: optibench baseline update RUN"
    found = sealed_from_json(data, Baseline, BASELINE_SCHEMA, str(path), mend)
    if not found.sha256:
        raise OptibenchError(f"{path} has lost its sha256, so nobody can tell what was measured in it. {mend}")
    return found


def of_path(path: Path) -> Baseline:
    """The baseline that ``path`` is (a file) or has in it (a run's folder). Errors: those of either."""
    path = path.expanduser()
    return of_run(path) if path.is_dir() else read(path)
