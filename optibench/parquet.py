"""records.parquet: the records as one flat table, a row for each record and shape, for people with data frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from optibench.values import Burst, Record, Series, Shape

# Explicit, so that a column has its type even where every value is missing. Counts and times are of one process.
COLUMNS = {
    "case": "string",
    "target": "string",
    "backend": "string",
    "precision": "string",
    "copy": "int64",
    "batch": "int64",
    "length": "int64",
    "phase": "string",
    "round": "int64",
    "status": "string",
    "reason": "string",
    "model": "string",
    "revision": "string",
    "task": "string",
    "tier": "string",
    "threads": "int64",
    "created": "string",
    "wall_ns": "list<int64>",  # every call, in order
    "burst_calls": "list<int64>",  # from here on, one number for each burst
    "block": "list<int64>",
    "cpu_ns": "list<int64>",
    "switches": "list<int64>",
    "idle_cpu_ns": "list<int64>",
    "idle_wall_ns": "list<int64>",
    "first_call_seconds": "float64",
    "load_seconds": "float64",
    "cold_start_seconds": "float64",
    "alone": "bool",
    "settled": "bool",
    "warmup_calls": "int64",
    "peak_bytes": "int64",
    "device_peak_bytes": "int64",
    "energy_joules": "float64",  # of energy_calls in a row
    "energy_calls": "int64",
    "executed_provider": "string",
    "executed_precision": "string",
    "executed_threads": "int64",
    "fallback_nodes": "int64",
    "artifact_sha256": "string",
    "artifact_bytes": "int64",
    "answers_sha256": "string",
    "scores_json": "string",  # from here on, values as in records.jsonl
    "parity_json": "string",
    "executed_json": "string",
    "artifact_json": "string",
    "dataset_json": "string",
    "calibration_json": "string",
    "workload_json": "string",
    "host_json": "string",
    "gpu_json": "string",  # the card, its sensors before and after
    "readings_json": "string",  # its sensors after each burst
}


def parquet_from_records(records: Iterable[Record]) -> bytes:
    """A Parquet file of the records: columns as in COLUMNS, nulls where a record that failed has no value."""
    import pyarrow as pa
    import pyarrow.parquet

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "list<int64>": pa.list_(pa.int64()),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
    rows = [row for record in records for row in _rows(record)]
    buffer = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _rows(record: Record) -> Iterable[dict[str, Any]]:
    """One row a shape: those that were measured, and those that were asked for where nothing was. A limit of the
    machine (backend "limits") is one row without a shape."""
    common = _common(record)
    if record.measurement:
        for series in record.measurement.series:
            yield common | _asked(series.shape) | _samples(series)
    elif record.gauged:
        yield common | _bursts([gauged.burst for gauged in record.gauged])
    else:
        for shape in record.workload.shapes:
            yield common | _asked(shape)


def _asked(shape: Shape) -> dict[str, Any]:
    return {"batch": shape.batch, "length": shape.length, "phase": shape.phase or None}


def _samples(series: Series) -> dict[str, Any]:
    return {
        **_bursts(series.bursts),
        "first_call_seconds": series.first_call_seconds,
        "settled": series.settled,
        "warmup_calls": series.warmup_calls,
        "peak_bytes": series.peak_bytes,
        "device_peak_bytes": max((one.process_bytes or 0 for one in series.readings), default=0) or None,
        "energy_joules": series.energy and series.energy.joules,
        "energy_calls": series.energy and series.energy.calls,
        "readings_json": _json(series.readings or None),
    }


def _bursts(bursts: Sequence[Burst]) -> dict[str, Any]:
    return {
        "wall_ns": [wall for burst in bursts for wall in burst.wall_ns],
        "burst_calls": [len(burst.wall_ns) for burst in bursts],
        **{
            name: [getattr(burst, name) for burst in bursts]
            for name in ("block", "cpu_ns", "switches", "idle_cpu_ns", "idle_wall_ns")
        },
    }


def _common(record: Record) -> dict[str, Any]:
    case, measurement, artifact = record.case, record.measurement, record.artifact
    executed = measurement.executed if measurement else None
    return {
        "case": case.name,
        "target": case.target,
        "backend": case.backend,
        "precision": case.precision,
        "copy": case.copy,
        "round": record.round,
        "status": record.status,
        "reason": record.reason,
        "model": record.model.id,
        "revision": record.model.revision,
        "task": record.model.task,
        "tier": record.workload.tier,
        "threads": record.threads,
        "created": record.created,
        "load_seconds": measurement and measurement.load_seconds,
        "cold_start_seconds": measurement and measurement.cold_start_seconds,
        "alone": measurement and measurement.alone,
        "executed_provider": executed and executed.provider,
        "executed_precision": executed and executed.precision,
        "executed_threads": executed and executed.threads,
        "fallback_nodes": executed and executed.fallback_nodes,
        "artifact_sha256": artifact and artifact.sha256,
        "artifact_bytes": artifact and artifact.bytes,
        "answers_sha256": record.answers_sha256,
        "scores_json": _json(record.scores or None),
        "parity_json": _json(record.parity),
        "executed_json": _json(executed),
        "artifact_json": _json(artifact),
        "dataset_json": _json(record.dataset),
        "calibration_json": _json(record.calibration),
        "workload_json": _json(record.workload),
        "host_json": _json(record.host),
        "gpu_json": _json(record.gpu),
    }


def _json(value: Any) -> str | None:
    import msgspec

    return None if value is None else msgspec.json.encode(value).decode()
