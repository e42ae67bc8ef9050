"""The contract of tests/contract, for every backend that some CUDA target lists."""

from __future__ import annotations

from types import ModuleType

import pytest

from optibench import plugins, targets
from optibench.values import Target
from tests.contract.test_backends import (  # noqa: F401 (pytest finds tests and fixtures by their names)
    TargetOf,
    cache,
    each_precision,
    made,
    model,
    test_a_second_preparation_builds_nothing,
    test_every_precision_is_built_runs_on_two_shapes_and_is_what_was_executed,
    test_fp32_gives_what_pytorch_gives,
    test_it_is_registered_and_says_what_it_needs,
    test_probing_says_yes_here_and_gives_a_reason_elsewhere,
)

CUDA = [target for target in targets.load().values() if target.device == "cuda"]
BACKENDS = list(dict.fromkeys(name for target in CUDA for name in target.backends))


@pytest.fixture(scope="module")
def target_of() -> TargetOf:
    """The general target of NVIDIA GPUs."""
    found: Target = targets.load()["cuda"]
    return lambda backend: found


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load("backend", request.param)


@pytest.fixture(params=each_precision(BACKENDS), ids="-".join)
def one(request: pytest.FixtureRequest) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found
