"""The gate: judge a run by a baseline, measure more of what is undecided, confirm what regressed, and conclude.

What is judged, and how, is judge.py's; this measures in between, and says how it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import __version__, api, judge, store
from optibench.baseline import Baseline, baseline_from_records, of_path, read
from optibench.comparable import told, told_of_sides, unfair
from optibench.errors import OptibenchError
from optibench.pairs import pairs_from_records
from optibench.plan import AGAINST, Request
from optibench.values import Record
from optibench.verdicts import GateCase, GateResult, Limits, OnUnknown

if TYPE_CHECKING:
    from optibench.execute.base import Launch

Say = Callable[[str], None]


def gate(
    run: str | Path,
    baseline: str | Path,
    *,
    max_slowdown: float = 0.05,
    max_accuracy_drop: float = 0.01,
    max_memory_growth: float = 0.10,
    max_size_growth: float = 0.05,
    cases: str = "*",
    on_unknown: OnUnknown = "rerun",
    budget_seconds: float = 600.0,
    confirm: bool = True,
    allow_different_hardware: bool = False,
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> GateResult:
    """Holds the run in folder ``run`` (or a run in short: a baseline's file, or pytest-benchmark's JSON from the pytest
    plugin) against ``baseline``, a file or another run's folder; the arguments are the command's options, percentages
    as shares (0.05 is 5%). ``budget_seconds`` is for the further rounds of what is
    undecided, and once more for the confirmation of what regressed.

    Raises OptibenchError where the two cannot be compared. A regression is no error: see ``exit_code``.
    """
    limits = Limits(
        max_slowdown=max_slowdown,
        max_accuracy_drop=max_accuracy_drop,
        max_memory_growth=max_memory_growth,
        max_size_growth=max_size_growth,
    ).checked()
    base, path = of_path(Path(baseline)), Path(run)
    notes = [] if path.is_file() else store.open_run(path).records()[1]

    def verdicts(one: Baseline, only: Sequence[str] | None = None) -> tuple[GateCase, ...]:
        return judge.judge(
            one, base, limits, pattern=cases, only=only, allow_different_hardware=allow_different_hardware
        )

    def judged(records: Sequence[Record], only: Sequence[str] | None = None) -> tuple[GateCase, ...]:
        return verdicts(baseline_from_records(records), only)

    found, more = _measured_further(
        path, verdicts(_run_in(path)), base, judged, on_unknown=on_unknown, seconds=budget_seconds, confirm=confirm,
        say=say, launch=launch,
    )  # fmt: skip
    run_now = _run_in(path)
    if allow_different_hardware:
        more += [f"Measured on different ground, as was allowed: {text}." for text in unfair(run_now, base)]
    return concluded(
        found,
        run_now,
        base,
        limits=limits,
        on_unknown=on_unknown,
        names=(str(run), str(baseline)),
        notes=[*told(run_now, base), *notes, *more],
    )


def gate_against(
    model: str | Path,
    against: str | Path | None = None,
    *,
    against_env: str | Path | None = None,
    max_slowdown: float = 0.05,
    max_accuracy_drop: float = 0.01,
    max_memory_growth: float = 0.10,
    max_size_growth: float = 0.05,
    cases: str = "*",
    on_unknown: OnUnknown = "rerun",
    budget_seconds: float = 300.0,
    confirm: bool = True,
    out: str | Path | None = None,
    say: Say = lambda text: None,
    **options: Any,
) -> GateResult:
    """Measures ``model`` beside what it is held ``against`` (or beside itself in ``against_env``) in one run, whose
    folder is ``out``, and judges it. The arguments are those of ``optibench gate MODEL --against``, percentages as
    shares (0.05 is 5%); ``options`` say how it is measured, as in ``optibench.compare`` (``backends``, ``dataset``).

    Raises OptibenchError as ``optibench.compare`` does. A regression is no error: see ``exit_code``.
    """
    return gate_sides(
        api.request_from_arguments({"model": model, "budget_seconds": budget_seconds, **options}),
        against=str(against) if against else None,
        against_env=str(against_env) if against_env else None,
        limits=Limits(
            max_slowdown=max_slowdown,
            max_accuracy_drop=max_accuracy_drop,
            max_memory_growth=max_memory_growth,
            max_size_growth=max_size_growth,
        ),
        cases=cases,
        on_unknown=on_unknown,
        budget_seconds=budget_seconds,
        confirm=confirm,
        run_dir=Path(out) if out else None,
        command=f"optibench.gate_against({str(model)!r}, ...)",
        say=say,
    )


def gate_sides(
    request: Request,
    *,
    against: str | None = None,
    against_env: str | None = None,
    limits: Limits | None = None,
    cases: str = "*",
    on_unknown: OnUnknown = "rerun",
    budget_seconds: float = 600.0,
    confirm: bool = True,
    run_dir: Path | None = None,
    command: str = "optibench.gating.gate_sides(...)",
    say: Say = lambda text: None,
    launch: Launch | None = None,
) -> GateResult:
    """Measures the request's builds beside what they are ``against`` (a revision, another model, an exported folder, a
    pin of a package's version) or the same in ``against_env`` (other package versions), both taking turns in the same
    rounds, and judges each build by its direct ratios: the strongest form of a gate.

    ``run_dir`` is the new run's folder. Raises OptibenchError as ``optibench.compare`` does.
    """
    limits = (limits or Limits()).checked()
    if not (against or against_env):
        raise OptibenchError("Against what? Name another revision, model, exported folder or pin, or an environment.")
    result = api.compare_sides(
        request, against=against, against_env=against_env, out=run_dir, command=command, cases=cases, say=say,
        launch=launch,
    )  # fmt: skip
    assert result.path is not None, "a run has a folder"

    def judged(records: Sequence[Record], only: Sequence[str] | None = None) -> tuple[GateCase, ...]:
        paired = {(pair.case, pair.shape): pair for pair in pairs_from_records(records)}
        mine, theirs = baseline_from_records(records), baseline_from_records(records, AGAINST)
        return judge.judge(mine, theirs, limits, pattern=cases, only=only, paired=paired)

    records = store.open_run(result.path).records()[0]
    found, notes = _measured_further(
        result.path, judged(records), None, judged, on_unknown=on_unknown, seconds=budget_seconds, confirm=confirm,
        say=say, launch=launch,
    )  # fmt: skip
    records = store.open_run(result.path).records()[0]
    run_now = baseline_from_records(records)
    neither = [pair.reason for pair in pairs_from_records(records) if pair.neither]
    return concluded(
        found,
        run_now,
        None,
        limits=limits,
        on_unknown=on_unknown,
        names=(request.model, against or against_env or ""),
        notes=[
            *told_of_sides(run_now, baseline_from_records(records, AGAINST)),
            *(f"Not judged, as neither side could run it: {reason}." for reason in neither),
            *notes,
            f"Both sides took turns in the run in {result.path}.",
        ],
    )


def _measured_further(
    path: Path,
    found: tuple[GateCase, ...],
    base: Baseline | None,
    judged: Callable[..., tuple[GateCase, ...]],
    *,
    on_unknown: OnUnknown,
    seconds: float,
    confirm: bool,
    say: Say,
    launch: Launch | None,
) -> tuple[tuple[GateCase, ...], list[str]]:
    """The verdicts ``found`` on the run in ``path``, after more rounds of what was undecided and a second measurement
    of what regressed, and what is to be told of that. ``judged`` gives the verdicts on a run's records; ``base`` is
    the baseline, unless both sides are in the run."""
    notes: list[str] = []

    def decided(names: Sequence[str]) -> Callable[[Sequence[Record]], bool]:
        return lambda records: not judge.undecided(judged(records, names), base)

    if on_unknown == "rerun" and (names := judge.undecided(found, base)):
        say(f"undecided, so measured further: {', '.join(names)}")
        try:
            folder = _folder(path)
            api.more_rounds(folder, names, seconds=seconds, enough=decided(names), say=say, launch=launch)
            found = judged(store.open_run(folder).records()[0])
        except OptibenchError as error:
            notes.append(f"No further rounds could be measured here. {error}")
    if confirm and (names := [case.case for case in found if case.verdict == "regressed"]):
        say(f"regressed, so measured afresh to confirm it: {', '.join(dict.fromkeys(names))}")
        second: tuple[GateCase, ...] = ()
        try:
            folder = _folder(path)
            again = api.measure_again(folder, names, seconds=seconds, enough=decided(names), say=say, launch=launch)
            assert again.path is not None, "a run has a folder"
            second = judged(store.open_run(again.path).records()[0], names)
            notes.append(f"The second measurement is in {again.path}.")
        except OptibenchError as error:
            notes.append(f"The regression could not be confirmed here (--no-confirm does without). {error}")
        found = judge.confirmed(found, second)
    return found, notes


def _run_in(path: Path) -> Baseline:
    """The run that is judged, with what was skipped or failed in it: those are not measured, and the gate says why."""
    return read(path) if path.is_file() else baseline_from_records(store.open_run(path).records()[0])


def _folder(path: Path) -> Path:
    """The run's folder. Error: the run was given as a file, which tells what was measured but not how to go on."""
    if path.is_dir():
        return path
    raise OptibenchError(f"{path} is a file with a run in short: only a run's folder can be measured further.")


def concluded(
    cases: Sequence[GateCase],
    run: Baseline,
    baseline: Baseline | None,
    *,
    limits: Limits,
    on_unknown: OnUnknown,
    names: tuple[str, str],
    notes: Sequence[str] = (),
) -> GateResult:
    """The verdicts as a whole: how the gate ends, and what else is to be known. ``baseline`` is None where both sides
    are in the run, so that nothing is new. A pure function."""
    code, sentence = _end(cases, on_unknown)
    known = {case.case for case in (baseline or run).cases}
    return GateResult(
        optibench_version=__version__,
        model=run.model.id,
        run=names[0],
        baseline=names[1],
        limits=limits,
        on_unknown=on_unknown,
        exit_code=code,
        sentence=sentence,
        cases=tuple(cases),
        new_cases=tuple(c.case for c in run.cases if c.status == "ok" and c.case not in known),
        notes=tuple(dict.fromkeys(notes)),
    )


def _end(cases: Sequence[GateCase], on_unknown: OnUnknown) -> tuple[int, str]:
    def count(chosen: Sequence[GateCase], verb: str) -> str:
        return f"{len(chosen)} of {len(cases)} {'cases' if len(cases) > 1 else 'case'} {verb}"

    red = [case for case in cases if case.verdict == "regressed" and case.second != "impossible"]
    alleged = [case for case in cases if case.verdict == "regressed" and case.second == "impossible"]
    missing = [case for case in cases if case.verdict == "not measured"]
    unknown = [case for case in cases if case.verdict == "unknown"]
    # The reference's own size and memory are no comparison of builds: without a ratio or a score nothing was compared.
    compared = [case for case in cases if case.aspect("latency") or case.aspect("accuracy")]
    if red:
        sure = (
            ", confirmed by a second measurement"
            if all(case.second == "confirmed" for case in red)
            else " (not confirmed)"
        )
        return 1, f"Failed: {count(red, 'regressed')}{sure}."
    if alleged:
        return 2, f"No telling: {count(alleged, 'seem to have regressed')}, and it could not be confirmed here."
    if not compared:
        return 2, "Failed: nothing was compared."
    if missing:
        return 2, f"Failed: {count(missing, 'not measured')}."
    if unknown and on_unknown != "pass":
        return 2, f"No telling: {count(unknown, 'undecided')}."
    rest = f", {len(unknown)} undecided, which was allowed" if unknown else ""
    return 0, f"Passed: {count([c for c in cases if c not in unknown], 'within the limits')}{rest}."
