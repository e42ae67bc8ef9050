"""reports/gpu/README.md, from the run and the figures beside it: ``python -m tests.gpu.page``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from optibench import api
from optibench.render import markdown
from optibench.result import Result
from optibench.store import open_run
from tests.trust.page import section

FOLDER = Path(__file__).parent.parent.parent / "reports" / "gpu"
RUN = "minilm"
INTRO = """# On an NVIDIA GPU

Made by `tox -e gpu` on a machine with a card: every backend's contract, copies of one artifact, and this comparison,
whose records lie in [{run}]({run})."""


def keep(result: Result, folder: Path = FOLDER) -> None:
    """Keeps a run's records and comparison in the folder, in place of an earlier one's."""
    shutil.rmtree(folder / RUN, ignore_errors=True)
    result.save(folder / RUN)
    shutil.rmtree(folder / RUN / "logs", ignore_errors=True)


def written(folder: Path = FOLDER) -> Path:
    """Writes the page; what is said of machine and versions is the records'. Error: there is no run."""
    result = api.load(folder / RUN)
    records, warnings = open_run(folder / RUN).records()
    host = records[-1].host
    packages = ", ".join(f"{name} {version}" for name, version in host.packages.items())
    machine = (
        f"{records[-1].created[:10]}: {', '.join(host.gpus) or 'no GPU'}; {host.cpu_model}, {host.cores} cores, "
        f"{host.os}, Python {host.python}, {packages}."
    )
    cards = {str(r.artifact.recipe["card"]) for r in records if r.artifact and r.artifact.recipe.get("card")}
    figures = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    parts = [
        INTRO.format(run=RUN),
        machine,
        *sorted(cards),
        *warnings,
        *map(section, figures),
        markdown.render(result.comparison),
    ]
    page = folder / "README.md"
    page.write_text("\n\n".join(parts))
    return page


if __name__ == "__main__":
    if not (FOLDER / RUN).is_dir():
        sys.exit("reports/gpu holds no run: tests/gpu/test_comparison.py, on a machine with a card, makes it.")
    print(written())
