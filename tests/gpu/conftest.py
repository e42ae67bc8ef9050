"""What needs an NVIDIA GPU: ``tox -e gpu``, or ``python -m pytest tests/gpu``.

It runs only where it is asked for by its folder, and then a machine without a card is a failure that says so: nothing
here passes, or is skipped, because there was nothing to test.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from optibench.errors import NothingMeasured, Unsupported
from optibench.nvidia import card as cards
from tests.gpu import page
from tests.trust.conftest import Keep, write_figures

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not any(Path(argument.partition("::")[0]).resolve().is_relative_to(HERE) for argument in config.args):
        here = [item for item in items if item.path.is_relative_to(HERE)]
        items[:] = [item for item in items if item not in here]
        config.hook.pytest_deselected(items=here)


@pytest.fixture(scope="session", autouse=True)
def card() -> cards.Card:
    """The card that all this is about."""
    try:
        return cards.card()
    except Unsupported as reason:
        pytest.exit(f"tests/gpu need a machine with an NVIDIA GPU: {reason}", returncode=NothingMeasured.exit_code)


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Keep:
    """Keeps a suite's figures for reports/gpu, as tests/trust does."""
    start = time.monotonic()

    def write(name: str, title: str, says: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
        command = f"python -m pytest tests/gpu -k {request.node.name.partition('[')[0]}"
        seconds = time.monotonic() - start
        write_figures(page.FOLDER / f"{name}.json", title, says, rows, command, seconds, **more)

    return write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")
