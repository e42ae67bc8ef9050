"""optibench from Python: the same engine as the command line.

import optibench
result = optibench.compare("minilm", targets=["cpu"])
result.best(accuracy_floor=0.99)
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import host, inputs, models, plugins, recommend, store, targets
from optibench.cache import Cache, default_root
from optibench.comparison import comparison_from_records
from optibench.errors import NothingMeasured, OptibenchError
from optibench.pipeline import Pipeline
from optibench.plan import Estimate, Plan, Request, check_names, estimate, plan_of
from optibench.render import csv, markdown
from optibench.results import CaseResult, Comparison
from optibench.values import Record

if TYPE_CHECKING:
    import pandas

    from optibench.execute.base import Launch

Say = Callable[[str], None]


class Result:
    """A finished comparison, and the folder of its run."""

    def __init__(self, comparison: Comparison, path: Path | None = None) -> None:
        self.comparison = comparison
        self.path = path

    def __repr__(self) -> str:
        best = self.comparison.recommended
        return f"<optibench result: {self.comparison.model.id}, {best.case if best else 'nothing recommended'}>"

    def to_pandas(self) -> pandas.DataFrame:
        """One row a case and shape; the columns are those of table.csv, with units in their names."""
        import io

        import pandas

        return pandas.read_csv(io.StringIO(csv.render(self.comparison)))

    def best(self, accuracy_floor: float | None = None) -> CaseResult | None:
        """The fastest case that keeps at least ``accuracy_floor`` of the reference's score (the run's own floor if
        None), at the first shape; the reference itself if nothing faster does; None where accuracy was not measured.
        """
        floor = self.comparison.workload.accuracy_floor if accuracy_floor is None else accuracy_floor
        cases = recommend.with_floor(self.comparison.cases, floor)
        chosen = recommend.recommended_case(cases, self.comparison.reference)
        return next((case for case in cases if case.case == chosen), None)

    def save(self, directory: str | Path) -> Path:
        """Copies the run's folder to ``directory``, records and all, so that ``load`` opens it there."""
        import shutil

        to = Path(directory)
        if to.exists() and any(to.iterdir()):
            raise OptibenchError(f"{to} is not empty. Give a new folder, so that nothing is overwritten.")
        if self.path is not None and self.path.resolve() != to.resolve():
            shutil.copytree(self.path, to, dirs_exist_ok=True)
        else:
            to.mkdir(parents=True, exist_ok=True)
            store.write_whole(to / store.COMPARISON, store.json_text(self.comparison).encode())
        return to


def compare(
    model: str,
    targets: Sequence[str] = ("cpu",),
    *,
    backends: Sequence[str] = (),
    precisions: Sequence[str] = (),
    task: str | None = None,
    dataset: str | None = None,
    columns: Mapping[str, str] | None = None,
    calibration: str | None = None,
    limit: int | None = None,
    batches: Sequence[int] = (1,),
    lengths: Sequence[int] = (),
    rounds: int | None = None,
    budget_seconds: float | None = None,
    quick: bool = False,
    accuracy_floor: float = 0.99,
    seed: int = 0,
    out: str | Path | None = None,
    targets_dir: str | Path | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    say: Say = lambda text: None,
) -> Result:
    """Builds, measures and compares every case of ``model`` on ``targets``; the arguments are the command's options.

    Raises OptibenchError (wrong use, bad input) or NothingMeasured (every case was skipped or failed).
    """
    request = Request(
        model=model,
        targets=tuple(targets),
        backends=tuple(backends),
        precisions=tuple(precisions),
        task=task,
        dataset=dataset,
        columns=dict(columns or {}),
        calibration=calibration,
        limit=limit,
        batches=tuple(batches),
        lengths=tuple(lengths),
        rounds=rounds,
        budget_seconds=budget_seconds,
        quick=quick,
        accuracy_floor=accuracy_floor,
        seed=seed,
        targets_dir=str(targets_dir) if targets_dir else None,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    return run(request, out=Path(out) if out else None, command=f"optibench.compare({model!r}, ...)", say=say)


def load(directory: str | Path) -> Result:
    """A finished run, from its folder."""
    path = Path(directory)
    return Result(store.load(path), path if path.is_dir() else path.parent)


def plan(request: Request, say: Say = lambda text: None, only_build: bool = False) -> Plan:
    """The request made into a plan: names checked, the model resolved, each target held against this machine."""
    known = targets.load(Path(request.targets_dir) if request.targets_dir else None)
    check_names(request, known)
    alias = models.aliases().get(request.model)
    # The alias's own data, unless its package is absent: then the run measures speed, and says so.
    if alias and not request.dataset and alias.dataset and models.local_path(alias.dataset):
        request = msgspec.structs.replace(request, dataset=alias.dataset, columns=request.columns or alias.columns)
        if alias.calibration and not request.calibration and models.local_path(alias.calibration):
            request = msgspec.structs.replace(request, calibration=alias.calibration)
    model = models.resolve(
        request.model,
        task=request.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
        say=say,
    )
    return plan_of(request, model, known, host.describe(), only_build)


def run(
    request: Request,
    *,
    out: Path | None = None,
    command: str,
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> Result:
    """A new run of the request."""
    planned = plan(request, say)
    folder = store.create(out, planned.model.ref.id)
    start = {
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "warnings": list(host.warnings(host.describe())),
        "plan": msgspec.to_builtins(planned),
    }
    folder.write_plan(start)
    try:
        return _go_on(folder, planned, start, say, launch)
    except OptibenchError:
        folder.discard_if_empty()
        raise


def resume(directory: Path, say: Say = lambda text: None, launch: Launch | None = None) -> Result:
    """Goes on with a run that was interrupted, from its folder alone; nothing is measured twice."""
    folder = store.open_run(directory)
    start = folder.plan()
    try:
        planned = msgspec.convert(start["plan"], Plan)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise OptibenchError(
            f"{directory}/{store.PLAN} was made by another version ({error}); start the run anew."
        ) from error
    if not Path(planned.model.path).exists():
        raise OptibenchError(f"The model's files are no longer at {planned.model.path}; start the run anew.")
    return _go_on(folder, planned, start, say, launch)


def _go_on(folder: store.Run, planned: Plan, start: dict[str, Any], say: Say, launch: Launch | None) -> Result:
    records, torn = folder.records()
    for text in torn:
        say(text)
    pipeline = Pipeline(
        plan=planned,
        run=folder,
        cache=Cache(default_root(), say),
        host=host.describe(),
        say=say,
        launch=launch,
        records=list(records),
    )
    try:
        pipeline.measure()
    except KeyboardInterrupt:
        rounds = len({r.round for r in pipeline.records if r.measurement})
        say(
            f"Interrupted. {rounds} whole rounds are kept in {folder.path}. "
            f"Go on with: optibench compare --resume {shlex.quote(str(folder.path))}"
        )
        raise
    comparison = comparison_from_records(
        pipeline.records, command=start["command"], created=start["created"], warnings=start["warnings"]
    )
    folder.write_comparison(comparison, {"table.csv": csv.render(comparison), "report.md": markdown.render(comparison)})
    if not any(record.measurement for record in pipeline.records):
        raise NothingMeasured("Nothing could be measured. " + " ".join(_reasons(pipeline.records)))
    return Result(comparison, folder.path)


def _reasons(records: Sequence[Record]) -> list[str]:
    """Why nothing ran: a sentence a reason, with the cases that share it."""
    by_reason: dict[str, list[str]] = {}
    for record in records:
        by_reason.setdefault(record.reason or "no reason is known", []).append(record.case.name)
    return [f"{', '.join(dict.fromkeys(names))}: {reason}." for reason, names in by_reason.items()]


def dry_run(request: Request, say: Say = lambda text: None) -> tuple[Plan, Estimate]:
    """The plan, and how long it will take: nothing is built or measured."""
    planned = plan(request, say)
    cache = Cache(default_root())
    rows = inputs.rows_of(planned.model, planned.workload)
    recipes = [inputs.recipe(planned.model, planned.workload, rows.sources)]
    for case in planned.runnable:
        build = planned.build(case, "", rows.sources.calibration.sha256)
        recipes.append(plugins.load("backend", case.backend).recipe(build))
    weights = Path(planned.model.path)
    size = sum(f.stat().st_size for f in ([weights] if weights.is_file() else weights.glob("*.safetensors")))
    return planned, estimate(planned, cache, recipes, size)


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
    import shutil

    cache = Cache(default_root())
    for row in cache_rows(older_than_seconds):
        cache.remove(row["key"])
    for folder in cache.leftovers():
        shutil.rmtree(folder, ignore_errors=True)
