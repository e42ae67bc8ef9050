"""The contract that every backend passes. A new backend of ours adds one line to BACKENDS; one of anybody's is held to
it by ``python -m pytest tests/contract --backend NAME`` (docs/add-a-backend.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from optibench import inputs, models, plugins, targets
from optibench.cache import Cache
from optibench.errors import Unsupported
from optibench.pipeline import mislabelled
from optibench.values import Artifact, Build, Case, Job, Model, Shape, Target, Workload

pytestmark = pytest.mark.slow
BACKENDS = ["fake", "pytorch", "pytorch-compile", "onnxruntime", "openvino"]
SHAPE, OTHER = Shape(batch=1, length=24), Shape(batch=3, length=11)


@pytest.fixture(scope="module")
def model(tiny_bert: Path) -> Model:
    return models.resolve(str(tiny_bert))


@pytest.fixture(scope="module")
def cache(cache_root: Path) -> Cache:
    return Cache(cache_root)


@pytest.fixture(scope="module")
def made(model: Model, cache: Cache) -> tuple[Path, str]:
    """The inputs' folder, and the calibration data's digest."""
    workload = Workload(shapes=(SHAPE, OTHER))
    rows = inputs.rows_of(model, workload)
    recipe = inputs.recipe(model, workload, rows.sources)
    entry = cache.get_or_make("inputs", recipe, lambda folder: inputs.make(folder, model, workload, rows))
    return cache.path(entry.key), rows.sources.calibration.sha256


TargetOf = Callable[[str], Target]


@pytest.fixture(scope="module")
def target_of() -> TargetOf:
    """The target that a backend, by name, is held to the contract on; tests/gpu has another."""
    return target_for


def target_for(backend: str) -> Target:
    if backend == "fake":
        options: dict[str, Any] = {"fake": {"fp32": {"latency_seconds": 0.01}}}
        return Target(name="fake", description="", device="cpu", backends={}, precisions=("fp32",), options=options)
    return targets.load()["cpu"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test for each backend, or each of its precisions."""
    backends = metafunc.config.getoption("--backend", None) or BACKENDS
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", backends, indirect=True, scope="module")
    if "one" in metafunc.fixturenames:
        metafunc.parametrize("one", each_precision(backends), ids="-".join, indirect=True)


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load("backend", request.param)


def name_of(backend: ModuleType) -> str:
    return next(name for name in plugins.names("backend") if plugins.load("backend", name) is backend)


def built(
    backend: ModuleType, model: Model, made: tuple[Path, str], cache: Cache, precision: str, target_of: TargetOf
) -> tuple[Job, Artifact]:
    target = target_of(name_of(backend))
    build = Build(
        model=model,
        target=target,
        backend=name_of(backend),
        precision=precision,
        inputs=str(made[0]),
        calibration_sha256=made[1],
    )
    artifact = backend.prepare(build, cache)
    case = Case(target=target.name, backend=name_of(backend), precision=precision)
    shapes = (SHAPE, OTHER)
    job = Job(
        case=case, model=model, target=target, round=1, artifact=artifact, inputs=str(made[0]), shapes=shapes, threads=1
    )
    return job, artifact


def each_precision(backends: Sequence[str]) -> list[tuple[str, str]]:
    """Every build that these backends say they make."""
    return [(name, precision) for name in backends for precision in plugins.load("backend", name).PRECISIONS]


@pytest.fixture
def one(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A backend and one of its precisions."""
    found: tuple[str, str] = request.param
    return found


def batch(made: tuple[Path, str], shape: Shape) -> dict[str, np.ndarray]:
    from optibench.arrays import batches_of

    return next(batches_of(made[0] / f"shape-{shape.name}.npz"))


def test_it_is_registered_and_says_what_it_needs(backend: ModuleType) -> None:
    assert name_of(backend) in plugins.names("backend")
    assert backend.FORMAT
    assert "fp32" in backend.PRECISIONS
    assert isinstance(backend.EXTRA, str)
    assert isinstance(backend.RUNTIME, tuple)


def test_probing_says_yes_here_and_gives_a_reason_elsewhere(backend: ModuleType, target_of: TargetOf) -> None:
    assert backend.probe(target_of(name_of(backend))) is None
    strange = Target(name="odd", description="", device="intel-npu", backends={}, precisions=())
    if name_of(backend) != "openvino":
        assert backend.probe(strange)


def test_every_precision_is_built_runs_on_two_shapes_and_is_what_was_executed(
    one: tuple[str, str], model: Model, made: tuple[Path, str], cache: Cache, target_of: TargetOf
) -> None:
    (name, precision), backend = one, plugins.load("backend", one[0])
    try:
        job, artifact = built(backend, model, made, cache, precision, target_of)
        with backend.session(artifact, job) as session:
            shapes = []
            for shape in (SHAPE, OTHER):
                feed = session.feed(batch(made, shape))
                outputs = session.arrays(session.call(feed))
                assert all(np.isfinite(o).all() for o in outputs.values() if o.dtype.kind == "f")
                shapes.append(next(iter(outputs.values())).shape[:2])
            assert shapes == [(1, 24), (3, 11)]
            executed = session.executed(session.feed(batch(made, SHAPE)))
    except Unsupported as reason:
        pytest.skip(f"not on this machine: {reason}")
    assert mislabelled(precision, executed.precision) is None
    assert target_of(name).device != "cpu" or executed.threads == 1
    assert executed.fallback_nodes == 0


def test_fp32_gives_what_pytorch_gives(
    model: Model, made: tuple[Path, str], cache: Cache, backend: ModuleType, target_of: TargetOf
) -> None:
    if name_of(backend) == "fake":
        return
    found = []
    for module in (backend, plugins.load("backend", "pytorch")):
        job, artifact = built(module, model, made, cache, "fp32", target_of)
        with module.session(artifact, job) as session:
            found.append(session.arrays(session.call(session.feed(batch(made, OTHER)))))
    mine, theirs = (next(iter(outputs.values())) for outputs in found)
    np.testing.assert_allclose(mine, theirs, atol=1e-4, rtol=1e-3)


def test_a_second_preparation_builds_nothing(
    backend: ModuleType,
    model: Model,
    made: tuple[Path, str],
    cache: Cache,
    target_of: TargetOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built(backend, model, made, cache, "fp32", target_of)

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("something was built again")

    monkeypatch.setattr(Cache, "_make", refuse)
    _, artifact = built(backend, model, made, cache, "fp32", target_of)
    assert len(artifact.sha256) == 64
