"""A kept run as reports read it: its comparison, its records, and what was asked for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optibench import models, store
from optibench.comparison import comparison_from_records
from optibench.errors import OptibenchError
from optibench.results import CaseResult, Comparison
from optibench.runs import open_kept
from optibench.values import Record


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A run. ``records`` may be empty: then a report has no raw samples to show. ``request`` is what was asked for, as
    plan.json holds it ({}: not known)."""

    comparison: Comparison
    records: Sequence[Record] = ()
    request: dict[str, Any] = field(default_factory=dict)


def reported_from_path(path: Path) -> tuple[Reported, list[str]]:
    """The run in a folder or bundle, and warnings. An unfinished one is compared as far as it went.

    Errors: no run is there; a file of it is damaged, cut off or of another schema; nothing was recorded yet.
    """
    kept = open_kept(path)
    records, warnings = kept.records()
    start = kept.start() if store.PLAN in kept.files else {}
    comparison = kept.comparison()
    if comparison is None:
        if not records:
            raise OptibenchError(
                f"{path} has no records yet: there is nothing to report. Go on with it: "
                f"optibench compare --resume {shlex.quote(str(path))}"
            )
        warnings.append(f"{path} was not finished: this is what its records ({len(records)}) say so far.")
        comparison = comparison_from_records(
            records,
            command=str(start.get("command", "")),
            created=str(start.get("created", records[0].created)),
            warnings=(*start.get("warnings", ()), *warnings),
        )
    return Reported(comparison=comparison, records=records, request=request_of(start)), warnings


def request_of(start: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, of a plan.json that may be of another version."""
    plan = start.get("plan")
    found = plan.get("request") if isinstance(plan, dict) else None
    return found if isinstance(found, dict) else {}


def recommended_result(comparison: Comparison) -> CaseResult | None:
    """The recommended case at its first shape."""
    name = comparison.recommended.case if comparison.recommended else None
    return next((case for case in comparison.cases if case.case == name), None)


def as_it_is(comparison: Comparison) -> bool:
    """Whether what is recommended is the model as it is, of which nothing has to be built."""
    best = recommended_result(comparison)
    return best is not None and (best.verdict == "reference" or best.artifact_sha256 == comparison.model.weights_sha256)


def export_command(run: Reported) -> str | None:
    """What to type to get the recommended artifact; None where nothing is recommended, or the model is to be used as
    it is. A model of the Hub is named at the commit that was measured."""
    best, model = recommended_result(run.comparison), run.comparison.model
    if best is None or as_it_is(run.comparison):
        return None
    asked = {name: value for name, value in run.request.items() if value != _of_alias(run.request).get(name)}
    name = f"{model.id}@{model.revision}" if model.source == "hub" else str(run.request.get("model") or model.id)
    words = ["optibench", "export", name, "--backend", best.backend, "--precision", best.precision]
    if best.target != "cpu":
        words += ["--target", best.target]
    for option in ("task", "dataset", "calibration", "limit", "seed", "targets_dir", "device"):
        if asked.get(option):
            words += [f"--{option.replace('_', '-')}", str(asked[option])]
    if asked.get("columns"):
        words += ["--columns", ",".join(f"{role}={column}" for role, column in asked["columns"].items())]
    for given, shape in (asked.get("input_shapes") or {}).items():
        words += ["--input", f"{given}={shape}"]
    if asked.get("input_file"):
        words += ["--inputs", str(asked["input_file"])]
    words += [f"--{risk.replace('_', '-')}" for risk in ("trust_remote_code", "allow_pickle") if asked.get(risk)]
    folder = "-".join(part for part in (model.id.rpartition("/")[2], best.backend, best.precision) if part)
    return shlex.join([*words, "--out", folder])


def _of_alias(request: dict[str, Any]) -> dict[str, Any]:
    """What a short name brings by itself, and so need not be typed: its data set, with what belongs to that."""
    alias = models.aliases().get(str(request.get("model")))
    if alias is None or request.get("dataset") != alias.dataset:
        return {}
    return {name: getattr(alias, name) for name in ("dataset", "calibration", "columns")}
