"""The option by which a backend that is not ours is held to the contract."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        metavar="NAME",
        help="instead of optibench's own: a backend that is installed here",
    )
