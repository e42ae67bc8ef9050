"""``--full`` runs the trust suites at their full size, the real models among them, and keeps the figures in
reports/trust; without it their short form runs with the ordinary tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.trust import page, real

Keep = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="full trust suites; figures are kept in reports/trust")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Real models are measured only when asked for: what they show hangs on how quiet the machine is."""
    if not full(config):
        left_out = [item for item in items if item.get_closest_marker("real")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


def full(config: pytest.Config) -> bool:
    return bool(config.getoption("--full", default=False))


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """Comparisons a cell."""
    return 1000 if full(request.config) else 150


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Keeps a suite's figures: ``keep(name, title, sentence, rows)``, and what others of its figures want to read."""
    start = time.monotonic()

    def write(name: str, title: str, says: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
        if full(request.config):
            test = request.node.name.partition("[")[0]
            command = f"python -m pytest tests/trust --full -k {test}"
            write_figures(page.FOLDER / f"{name}.json", title, says, rows, command, time.monotonic() - start, **more)
            page.write()

    return write


def write_figures(
    path: Path, title: str, says: str, rows: Sequence[Mapping[str, Any]], command: str, seconds: float, **more: Any
) -> None:
    """A suite's figures with what they were made by, as page.section reads them."""
    found = {
        "title": title,
        "says": says,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "machine": real.machine(),
        "rows": list(rows),
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")
