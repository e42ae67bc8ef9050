"""reports/README.md: what lies there, of what machine and versions, and how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.render.plain import plain
from optibench.results import Comparison
from tests.trust.page import table

INTRO = """# What this project publishes of its own

`tox run -e site` makes it of real runs in the official form: it makes the models, measures each that has no submission
of this kind of machine and these versions yet (three to four minutes each; an interrupted run goes on), checks the
submissions and writes the pages. `-- NAME` measures one, `-- --again` anew, `-- --pages` writes the pages alone. What a
run itself warns of stands [below](#warnings).

| what | |
| --- | --- |
| [site/index.html](site/index.html) | the board: a clone of this repository opens it from its disk |
| [submissions/](submissions) | one file a run, with its raw samples; `optibench leaderboard validate` checks them |
| [report.html](report.html), [report.md](report.md) | the comparison of the main job, `optibench compare minilm` |
| [baselines/](baselines), [bench/](bench), [bench-site/](bench-site), [coverage/](coverage), [trust/](trust) | \
figures of other suites (`tox -e bench`, `bench-site`, `coverage-models`, `trust`) |

<picture><source media="(prefers-color-scheme: dark)" srcset="tradeoff-dark.svg"><img src="tradeoff-light.svg" \
alt="The main job: speed-up against score of every build"></picture>

<picture><source media="(prefers-color-scheme: dark)" srcset="latency-dark.svg"><img src="latency-light.svg" \
alt="The main job: how the latency of each build is spread"></picture>
"""


def page_of(shown: Sequence[tuple[str, Comparison]], versions: Sequence[str]) -> str:
    """The page of these submissions, each with what it is about."""
    lines = [INTRO, "## Models", "", *table([_row(about, found) for about, found in shown])]
    lines += ["", "## Machines and versions", ""]
    lines += sorted({f"- {_machine(found, versions)}" for _, found in shown})
    lines += ["", "## Warnings", "", "As the runs themselves give them.", ""]
    for _, found in shown:
        said = [f"  - {plain(text)}" for text in found.warnings] or ["  - none"]
        lines += [f"- **{found.model.id}**, {found.model.task}, {_noise(found)}", *said]
    return "\n".join(lines) + "\n"


def _row(about: str, found: Comparison) -> dict[str, str]:
    best = found.recommended
    judged = next((case.scores[0] for case in found.cases if case.case == found.reference and case.scores), None)
    return {
        "model": f"{found.model.id}: {about}",
        "task": found.model.task,
        "reference's score": f"{judged.metric} {judged.reference:.3f} on {judged.count:,}" if judged else "none",
        "recommended": plain(best.sentence if best else found.recommended_reason or "nothing"),
        "measured": found.created[:10],
    }


def _machine(found: Comparison, versions: Sequence[str]) -> str:
    here = found.host
    packages = ", ".join(f"{name} {here.packages[name]}" for name in versions if name in here.packages)
    return (
        f"{plain(here.cpu_model)}, {here.cores} cores, {here.memory_bytes / 1e9:.1f} GB, {plain(here.os)}, "
        f"Python {here.python}, optibench {found.optibench_version}, {packages}"
    )


def _noise(found: Comparison) -> str:
    noise = found.noise
    floor = f"noise floor ±{noise.floor:.1%}" if noise.floor is not None else "no noise floor"
    return f"{floor}, {noise.disturbed_share:.0%} of bursts disturbed"
