"""optibench from Python: the same engine as the command line.

import optibench
result = optibench.compare("minilm", targets=["cpu"])
result.best(accuracy_floor=0.99)
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import changes, harness, host, models, plugins, replay_run, runs, side_by_side, store, targets, trend
from optibench.begun import go_on, measure_again, more_rounds, resume
from optibench.build import Workshop
from optibench.cache import Cache, default_root
from optibench.difference import difference
from optibench.difference_values import Difference
from optibench.errors import OptibenchError
from optibench.estimate import Estimate
from optibench.pairs import Pair, pairs_from_records
from optibench.plan import Plan, Request, check_names, only_like, plan_of
from optibench.reported import reported_from_path
from optibench.result import Result
from optibench.samples import builds

if TYPE_CHECKING:
    from optibench.execute.base import Launch

__all__ = ["Result", "compare", "diff", "history", "load", "measure_again", "more_rounds", "replay", "report", "resume"]

Say = Callable[[str], None]


def compare(
    model: str | Path,
    targets: str | Sequence[str] = ("cpu",),
    *,
    backends: str | Sequence[str] = (),
    precisions: str | Sequence[str] = (),
    task: str | None = None,
    dataset: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    calibration: str | Path | None = None,
    input_shapes: Mapping[str, str] | None = None,
    input_file: str | Path | None = None,
    limit: int | None = None,
    batches: Sequence[int] = (1,),
    lengths: Sequence[int] = (),
    new_tokens: int | None = None,
    rounds: int | None = None,
    budget_seconds: float | None = None,
    quick: bool = False,
    accuracy_floor: float = 0.99,
    wait_quiet_seconds: float = 0.0,
    seed: int = 0,
    out: str | Path | None = None,
    targets_dir: str | Path | None = None,
    device: str | int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    say: Say = lambda text: None,
) -> Result:
    """Builds, measures and compares every case of ``model`` on ``targets``; the arguments are the command's options.

    Raises OptibenchError (wrong use, bad input) or NothingMeasured (every case was skipped or failed).
    """
    given = {
        "model": model,
        "targets": targets,
        "backends": backends,
        "precisions": precisions,
        "task": task,
        "dataset": dataset,
        "columns": columns or {},
        "calibration": calibration,
        "input_shapes": input_shapes or {},
        "input_file": input_file,
        "limit": limit,
        "batches": batches,
        "lengths": lengths,
        "new_tokens": new_tokens,
        "rounds": rounds,
        "budget_seconds": budget_seconds,
        "quick": quick,
        "accuracy_floor": accuracy_floor,
        "wait_quiet_seconds": wait_quiet_seconds,
        "seed": seed,
        "targets_dir": targets_dir,
        "device": device,
        "trust_remote_code": trust_remote_code,
        "allow_pickle": allow_pickle,
    }
    command = f"optibench.compare({str(model)!r}, ...)"
    return run(request_from_arguments(given), out=Path(out) if out else None, command=command, say=say)


def request_from_arguments(given: Mapping[str, Any]) -> Request:
    """What Python code gives as a Request: paths as text, a lone name as a list of one. Error: a wrong type, named."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
    if isinstance(plain.get("device"), int):  # a number reads as one
        plain["device"] = str(plain["device"])
    for name in ("targets", "backends", "precisions"):
        if isinstance(plain.get(name), str):
            plain[name] = [plain[name]]
    try:
        return msgspec.convert(plain, Request)
    except msgspec.ValidationError as error:
        raise OptibenchError(f"optibench.compare cannot take this argument: {error}.") from error


def load(directory: str | Path) -> Result:
    """A finished run, from its folder."""
    path = Path(directory).expanduser()
    return Result(store.load(path), path if path.is_dir() else path.parent)


def plan(request: Request, say: Say = lambda text: None, only_build: bool = False) -> Plan:
    """The request made into a plan: names checked, the model resolved, each target held against this machine."""
    known = targets.load(Path(request.targets_dir) if request.targets_dir else None)
    check_names(request, known)
    alias = models.aliases().get(request.model)
    # The alias's own data, unless its package is absent: then the run measures speed, and says so.
    own = alias is not None and request.task in (None, alias.task)
    if alias and own and not request.dataset and alias.dataset and models.local_path(alias.dataset):
        request = msgspec.structs.replace(request, dataset=alias.dataset, columns=request.columns or alias.columns)
        if alias.calibration and not request.calibration and models.local_path(alias.calibration):
            request = msgspec.structs.replace(request, calibration=alias.calibration)
    if request.columns and not request.dataset:
        raise OptibenchError("--columns names the columns of a data set: give that too, with --dataset.")
    model = models.resolve(
        request.model,
        task=request.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
        say=say,
    )
    model = harness.judging(model, request.dataset)
    if request.against or request.against_env:
        from optibench import against

        return against.two_sided(request, model, known, host.describe(), Cache(default_root(), say), say)
    return plan_of(request, model, known, host.describe(), only_build)


def run(
    request: Request,
    *,
    out: Path | None = None,
    command: str,
    cases: str = "*",
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Result:
    """A new run of the request: of its cases that are named like ``cases``."""
    planned = only_like(plan(request, say), cases)
    folder = store.create(out, planned.model.ref.id)
    start = {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "plan": msgspec.to_builtins(planned),
    }
    with folder.alone():  # before the plan: of two that were begun at once, the second must not touch the first's
        folder.write_plan(start)
        try:
            return go_on(folder, planned, start, say, launch)
        except OptibenchError:
            folder.discard_if_empty()
            raise


def compare_sides(
    request: Request,
    *,
    against: str | None = None,
    against_env: str | None = None,
    out: Path | None = None,
    command: str,
    cases: str = "*",
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Result:
    """A new run that holds the request's builds twice, taking turns in the same rounds: as they are, and made from
    ``against`` (a revision of the same Hub id, another model, a folder that ``export`` wrote, or a pin of a package's
    version) or run in ``against_env`` (a constraints file, a pin, or a virtual environment's folder).

    The other side's cases are in the comparison under their names (``against:cpu/openvino/int8``); ``pairs`` gives the
    direct comparison of each build. ``resume`` goes on with such a run as with any. Raises what ``run`` raises.
    """
    request = msgspec.structs.replace(request, against=against, against_env=against_env)
    return run(request, out=out, command=command, cases=cases, say=say, launch=launch)


def pairs(directory: Path) -> list[Pair]:
    """Both sides of a run of two, build by build and shape by shape, from the run's folder; [] for other runs."""
    return pairs_from_records(store.open_run(directory).records()[0])


def history(
    *directories: str | Path, cases: str = "*", model: str | None = None, say: Say = lambda text: None
) -> trend.History:
    """Each case's speed-up over many runs of one model, and where its level changed, with what else was new there.

    ``directories`` are runs' folders, bundles, or folders that hold some; ``cases`` is a pattern of case names;
    ``model`` picks one where there are several (by default that of most runs). Raises OptibenchError if no run can
    be used; single runs that cannot are named in ``left_out``.
    """
    return trend.history_of([Path(directory) for directory in directories], cases=cases, model=model, say=say)


class Replayed(Result):
    """A run measured again: the new result, and ``replay``, which holds both side by side."""

    def __init__(self, result: Result, replay: side_by_side.Replay) -> None:
        super().__init__(result.comparison, result.path)
        self.replay = replay


def replay(
    run: str | Path,
    *,
    out: str | Path | None = None,
    model: str | None = None,
    dataset: str | None = None,
    calibration: str | None = None,
    targets_dir: str | Path | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Replayed:
    """Measures the cases of a kept ``run`` (its folder or bundle, which is not touched) again, into a new run's folder.

    ``model``, ``dataset`` and ``calibration`` say where these lie now, if they were moved; their digests decide.
    Raises OptibenchError if the model is gone or not the one that was measured.
    """
    kept = runs.open_kept(Path(run))
    everything, warnings = kept.records()
    records = builds(everything)  # the machine's limits are measured anew by themselves
    here = host.describe()
    moved = replay_run.Moved(
        model=model,
        dataset=dataset,
        calibration=calibration,
        targets_dir=Path(targets_dir) if targets_dir else None,
        device=device,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    again = replay_run.plan_again(kept, records, moved, here, say)
    last = next(record for record in reversed(records) if record.measurement)
    constraints = replay_run.constraints_from_host(last.host)
    then = kept.comparison()
    checks = (*again.checks, *side_by_side.record_checks(records, then))
    folder = store.create(Path(out) if out else None, f"{last.model.id}-replay")
    start = replay_run.start_of(kept, f"optibench replay {shlex.quote(str(run))}", again.plan)
    folder.write(store.CONSTRAINTS, constraints.encode())
    folder.write_plan(start)
    try:
        result = go_on(folder, again.plan, start, say, launch)
    except OptibenchError:
        folder.discard_if_empty()
        raise
    found = side_by_side.Replay(
        run=str(run),
        model=last.model,
        created_then=min(record.created for record in records),
        created_now=start["created"],
        machine_changes=changes.machine_changes(last.host, here),
        software_changes=changes.software_changes(last.host, here),
        checks=checks,
        warnings=(*warnings, *side_by_side.distrusted(then, result.comparison)),
        cases=tuple(side_by_side.pairs(records, folder.records()[0], [p.case for p in again.plan.cases])),
        not_again=again.not_again,
    )
    folder.write(replay_run.REPLAY, store.json_text(found).encode())
    return Replayed(result, found)


def report(run: str | Path, form: str = "html", **options: Any) -> tuple[bytes, list[str]]:
    """A kept run (its folder or bundle) in the format of that name, as the bytes of a file, and warnings.

    ``options`` are the renderer's own (``chart`` and ``dark`` of svg and png). Raises OptibenchError for an unknown
    format, a run that cannot be read, and a package that is not installed.
    """
    renderer = plugins.load("renderer", {"md": "markdown"}.get(form, form))
    found, warnings = reported_from_path(Path(run))
    made = (
        renderer.render_run(found, **options) if hasattr(renderer, "render_run") else renderer.render(found.comparison)
    )
    return made if isinstance(made, bytes) else made.encode(), warnings


def diff(run_a: str | Path, run_b: str | Path) -> Difference:
    """What changed from one kept run to another (folders or bundles): two models, machines, commits or versions.

    Raises OptibenchError if one cannot be read, or nothing was measured in it.
    """
    (a, warnings_a), (b, warnings_b) = (reported_from_path(Path(run)) for run in (run_a, run_b))
    return difference((str(run_a), str(run_b)), a, b, (*warnings_a, *warnings_b))


def dry_run(request: Request, say: Say = lambda text: None) -> tuple[Plan, Estimate]:
    """The plan, and how long it will take: nothing is built or measured."""
    planned = plan(request, say)
    return planned, Workshop(planned, Cache(default_root()), Path(os.devnull), say).estimate()


def export(request: Request, out: Path, say: Say = lambda text: None) -> Path:
    """Builds the request's one case and writes it to the new folder ``out``, with all that is needed to use it."""
    from optibench import package

    planned = plan(request, say, only_build=True)
    return package.write(planned, out, Cache(default_root(), say), say)


def cache_root() -> Path:
    """Where the artifact cache is."""
    return default_root()


def cache_rows(older_than_seconds: float = 0.0) -> list[dict[str, Any]]:
    """The cache's entries, oldest first: key, kind, bytes, what they are, and when they were made."""
    rows = []
    for key, entry in Cache(default_root()).entries():
        recipe = entry.recipe if entry else {}
        parent = recipe.get("parent", {})
        what = [recipe.get("form"), recipe.get("precision"), recipe.get("task") or parent.get("task")]
        created = entry.created if entry else 0.0
        if time.time() - created >= older_than_seconds:
            rows.append(
                {
                    "key": key,
                    "kind": entry.kind if entry else "damaged",
                    "bytes": entry.bytes if entry else 0,
                    "what": " ".join(part for part in what if part),
                    "created": created,
                }
            )
    return sorted(rows, key=lambda row: row["created"])


def cache_verify() -> list[str]:
    """What is wrong with entries of the cache, a sentence each."""
    cache = Cache(default_root())
    found = []
    for key, _ in cache.entries():
        try:
            cache.verify(key)
        except OptibenchError as error:
            found.append(str(error))
    return found


def cache_prune(older_than_seconds: float = 0.0) -> None:
    """Removes the entries that ``cache_rows`` lists for this age, and what killed runs left half made."""
    cache = Cache(default_root())
    for row in cache_rows(older_than_seconds):
        cache.remove(row["key"])
    cache.clear_leftovers()
