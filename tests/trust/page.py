"""reports/trust/README.md from the JSON files beside it: ``python -m tests.trust.page``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "reports" / "trust"
INTRO = """# What the trust suites showed

Made by `tox -e trust`; every section names the command that makes it anew. What each one must show stands in
[docs/method.md](../../docs/method.md).
"""


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows as lines of a Markdown table; a column is any row's key."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
        *("| " + " | ".join(str(row.get(name, "")) for name in columns) + " |" for row in rows),
    ]


def section(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    made = (
        f"`{found['command']}` took {found['seconds']:.0f} s on {found['created'][:10]}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['os']}, Python {machine['python']}, {packages}; load average at the end "
        f"{machine['load_average'][0]}."
    )
    return "\n".join([f"## {found['title']}", "", found["says"], "", *table(found["rows"]), "", made, ""])


def write() -> None:
    found = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]
    (FOLDER / "README.md").write_text("\n".join([INTRO, *map(section, found)]))


if __name__ == "__main__":
    write()
