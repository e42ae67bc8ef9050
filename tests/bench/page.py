"""reports/bench/README.md from pytest-benchmark's JSON beside it (latest.json), which loses the machine's own name on
the way: ``python -m tests.bench.page``. Of benchmarks that were measured apart from the others the same with NAME makes
NAME.md of NAME.json. On the machine that measured them: the page names the one that it is made on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from optibench import host
from tests.trust.page import table

FOLDER = Path(__file__).parent.parent.parent / "reports" / "bench"
INTRO = """# Figures of speed and size

Made by `tox -e bench`, which times whole commands, the main job twice from an empty cache, and its speed-ups with and
without a neighbour that burns one core a third of the time. Our own functions are timed in turns with a fixed piece of
Python, and our gate holds them against reports/baselines/functions.json.
"""
APART = """# Figures measured apart from the others

From {file}, as `tox -e bench` times them; [README.md](README.md) has those of a whole run.
"""


def times(found: dict[str, Any]) -> dict[str, Any]:
    stats = found["stats"]
    low, median, high = (f"{stats[name] * 1e3:.4g} ms" for name in ("min", "median", "max"))
    return {"benchmark": found["name"], "least": low, "median": median, "most": high, "times": stats["rounds"]}


def rows_of(extra: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each figure that a benchmark keeps beside its times."""
    return [
        {"figure": name, **(value if isinstance(value, dict) else {"value": value})} for name, value in extra.items()
    ]


def write(name: str = "latest") -> None:
    file = FOLDER / f"{name}.json"
    whole = name == "latest"
    found = json.loads(file.read_text())
    found["machine_info"].pop("node", None)
    file.write_text(json.dumps(found, indent=1) + "\n")
    here, names = host.describe(), ("torch", "transformers", "onnxruntime", "openvino", "nncf", "numpy")
    versions = ", ".join(f"{name} {here.packages[name]}" for name in names if name in here.packages)
    intro = INTRO if whole else APART.format(file=file.name)
    lines = [intro, *table([times(one) for one in found["benchmarks"] if one["stats"]["rounds"] > 1])]
    for one in found["benchmarks"]:
        if one["extra_info"]:
            lines += ["", f"## {one['name']}", "", *table(rows_of(one["extra_info"]))]
    lines += [
        "",
        f"{found['datetime'][:10]}: {here.cpu_model}, {here.cores} cores, {here.os}, Python {here.python}, {versions}.",
    ]
    (FOLDER / ("README.md" if whole else f"{name}.md")).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write(*sys.argv[1:])
