"""How often the gate is red where something got worse, and where nothing did: ``gating.gate`` itself, on run folders
and baseline files of known truth, beside the recorded neighbour. Only measuring is replaced: the baseline, the run, its
further rounds and the confirmation each draw noise of their own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from optibench import baseline, comparison, gating, schedule, store
from optibench.strict_json import sealed_json
from optibench.values import Record
from tests.trust import page, simulate
from tests.trust.conftest import Keep, full

REFERENCE, *CASES = simulate.USUAL
PROCESS_SECONDS = 4.2
"""Of a process in a round of minilm on two cores: what a gate's budget is spent on."""


@dataclass(frozen=True)
class Kind:
    """Gates of one kind. ``planted``: what is new in the run, given one of the cases. ``red``: whether each of them
    must be red, or none (None: for reading)."""

    title: str
    planted: Callable[[str], dict[str, Any]]
    red: bool | None
    baseline_rounds: int = 20


KINDS = (
    Kind("unchanged code", lambda case: {}, red=False),
    Kind("a build 10% slower", lambda case: {"slower": {case: 0.10}}, red=True),
    Kind("a build less accurate by 4 points", lambda case: {"build": 1, "accuracy_drop": {case: 0.04}}, red=True),
    Kind("builds of other answers, none less accurate", lambda case: {"build": 1}, red=False),
    Kind("a build 10% slower", lambda case: {"slower": {case: 0.10}}, red=None, baseline_rounds=10),
)


def write(folder: Path, records: Sequence[Record]) -> None:
    store.Run(folder).write(store.RECORDS, b"".join(sealed_json(record) + b"\n" for record in records))


def measured(
    folder: Path, run: simulate.FakeRun, cases: Collection[str], seconds: float, enough: Callable[..., bool]
) -> None:
    """Adds rounds of these cases, the reference and its twin to the run in the folder, as Pipeline.more does."""
    records = store.open_run(folder).records()[0]
    done = max((record.round for record in records), default=0)
    spent = 0.0
    workload = msgspec.structs.replace(run.workload, budget_seconds=seconds)
    budget = schedule.Budget(workload, PROCESS_SECONDS, clock=lambda: spent)
    for number in range(done + 1, done + 1 + 2 * workload.max_rounds):
        held = [r for r in run.round(number) if comparison.untwinned(r.case).name in {*cases, REFERENCE}]
        if number > done + 1 and len(held) > budget.room:
            break
        records += held
        spent += PROCESS_SECONDS * len(held)
        if enough(records):
            break
    write(folder, records)


def gated(folder: Path, seed: int, kind: Kind, patch: pytest.MonkeyPatch) -> dict[str, int]:
    """One gate with the command's defaults, all of it measured under noise that is drawn once; how it ended."""
    noise = simulate.fitted("neighbour")
    planted = kind.planted(CASES[seed % len(CASES)])
    workload = msgspec.structs.replace(simulate.WORKLOAD, rounds=kind.baseline_rounds)
    old = simulate.FakeRun(noise=noise, seed=10 * seed, workload=workload)
    new, second = (simulate.FakeRun(noise=noise, seed=10 * seed + part, **planted) for part in (1, 2))
    run, again = folder / "run", folder / "run-again"

    def more_rounds(path: Path, cases: Collection[str], *, seconds: float, enough: Any, **rest: Any) -> None:
        measured(path, new, cases, seconds, enough)

    def measure_again(path: Path, cases: Collection[str], *, seconds: float, enough: Any, **rest: Any) -> Any:
        again.mkdir()
        write(again, [])
        least = second.workload.rounds
        measured(again, second, cases, seconds, lambda records: records[-1].round >= least and enough(records))
        return SimpleNamespace(path=again)

    patch.setattr(gating.api, "more_rounds", more_rounds)
    patch.setattr(gating.api, "measure_again", measure_again)
    run.mkdir(parents=True)
    write(run, new.records())
    baseline.write(baseline.baseline_from_records(old.records()), folder / "baseline.json")
    found = gating.gate(run, folder / "baseline.json")
    rounds = store.open_run(run).records()[0][-1].round
    return {"code": found.exit_code, "rounds": rounds, "again": again.exists()}


def test_gates_are_red_where_something_got_worse_and_nowhere_else(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Keep
) -> None:
    count = 50 if full(request.config) else 4
    ends: list[Counter[int]] = []
    rows = []
    for number, kind in enumerate(KINDS):
        folders = [tmp_path / f"{number}-{gate}" for gate in range(count)]
        gates = [gated(folder, 1000 * number + gate, kind, monkeypatch) for gate, folder in enumerate(folders)]
        ends.append(Counter(gate["code"] for gate in gates))
        rows.append(
            {
                "gates of": kind.title,
                "rounds of the baseline": kind.baseline_rounds,
                "gates": count,
                "passed (exit 0)": ends[-1][0],
                "red (exit 1)": ends[-1][1],
                "no telling (exit 2)": ends[-1][2],
                "confirmations": sum(gate["again"] for gate in gates),
                "mean rounds of a run": f"{sum(gate['rounds'] for gate in gates) / count:.1f}",
            }
        )
        print(rows[-1])
    keep(
        "gates",
        "The gate",
        "Whole gates with the command's defaults, each of four builds and the reference, noise as recorded beside a "
        "neighbour; one of the four, by turns, is what got worse. 1,000 examples.",
        rows,
    )
    for kind, codes in zip(KINDS, ends, strict=True):
        assert kind.red is None or codes[1] == (count if kind.red else 0), (kind.title, codes)


def test_the_docs_show_the_gates_that_were_kept() -> None:
    kept = json.loads((page.FOLDER / "gates.json").read_text())
    assert "\n".join(page.table(kept["rows"])) in (page.FOLDER.parent.parent / "docs" / "gate.md").read_text()
