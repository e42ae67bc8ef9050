"""The pytest plugin: the fixture ``optibench`` judges a model, or a function, inside a test suite.

def test_encoder(optibench):
    optibench.assert_not_slower("minilm", backend="openvino", baseline="reports/baselines/minilm.json")

Where pytest-benchmark is installed, what was measured also lands in its JSON. Nothing heavy is imported until a test
asks for the fixture: every pytest run of an environment with optibench loads this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from optibench.baseline import Baseline, CaseFigures
    from optibench.verdicts import GateResult

FIGURES = pytest.StashKey[dict[str, "CaseFigures"]]()


@pytest.fixture
def optibench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gauge:
    """Measures models and functions, and fails the test where one has become worse than its baseline."""
    return Gauge(request, tmp_path_factory)


class Gauge:
    """What the fixture gives."""

    def __init__(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory) -> None:
        self._request = request
        self._folders = folders
        self._timed = 0

    def assert_not_slower(
        self,
        model: str,
        *,
        backend: str,
        baseline: str | Path,
        precision: str | None = None,
        max_slowdown: float = 0.05,
        max_accuracy_drop: float = 0.01,
        max_memory_growth: float = 0.10,
        max_size_growth: float = 0.05,
        confirm: bool = True,
        allow_different_hardware: bool = False,
        **options: Any,
    ) -> GateResult:
        """Measures ``backend``'s builds of ``model`` (those of ``precision``, or all that the baseline has) beside the
        reference, and fails the test with the gate's report unless each passes (shares: 0.05 is 5%).

        Targets, precisions and shapes are the baseline's; ``options`` go to ``optibench.compare`` (``dataset``, ...).
        ``baseline`` is looked for from the working directory, then from pytest's root. The test fails too where there
        is no telling: what was not compared has not passed.
        """
        from optibench import api, gating
        from optibench.errors import OptibenchError
        from optibench.render import gate_text
        from optibench.verdicts import Limits

        path = self._found(Path(baseline))
        asked = {**_asked(path, backend, precision), **options}
        folder = self._folders.mktemp("optibench") / "run"
        limits = Limits(
            max_slowdown=max_slowdown,
            max_accuracy_drop=max_accuracy_drop,
            max_memory_growth=max_memory_growth,
            max_size_growth=max_size_growth,
        )
        try:
            limits.checked()  # now, not after minutes of measuring
            with self._alone():
                result = api.compare(model, backends=[backend], out=folder, say=_say, **asked)
                judged = gating.gate(
                    folder,
                    path,
                    max_slowdown=max_slowdown,
                    max_accuracy_drop=max_accuracy_drop,
                    max_memory_growth=max_memory_growth,
                    max_size_growth=max_size_growth,
                    cases=f"*/{backend}/{precision or '*'}",
                    confirm=confirm,
                    allow_different_hardware=allow_different_hardware,
                    say=_say,
                )
        except OptibenchError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None
        assert result.path is not None, "a run has a folder"
        self._tell_models(result.path)
        if judged.exit_code:
            pytest.fail(gate_text.render(judged), pytrace=False)
        return judged

    def in_turns(self, function: Callable[[], object], *, rounds: int = 6, blocks: int = 10) -> list[float]:
        """Times ``function`` in turns with a fixed piece of Python; gives each round's log(its time / that piece's).

        The ratios stand in pytest-benchmark's JSON (``--benchmark-json FILE``), and ``optibench gate FILE --baseline
        FILE`` judges them; ``optibench baseline save FILE`` makes the first baseline.
        """
        from optibench.baseline import function_figures
        from optibench.yardstick import in_turns

        with self._alone():
            measured = in_turns(function, rounds=rounds, blocks=blocks)
        self._timed += 1
        name = self._request.node.nodeid + (f" ({self._timed})" if self._timed > 1 else "")
        self._request.config.stash.setdefault(FIGURES, {})[name] = function_figures(name, measured)
        self._tell(self._request.node.name, [seconds for one in measured for seconds in one.seconds])
        return [one.log_ratio for one in measured]

    def _alone(self) -> AbstractContextManager[Any]:
        """Among the processes of pytest-xdist one measures at a time: two would share the cores."""
        if "PYTEST_XDIST_WORKER" not in os.environ:
            return nullcontext()
        import filelock

        return filelock.FileLock(self._folders.getbasetemp().parent / "optibench.lock")

    def _found(self, baseline: Path) -> Path:
        path = baseline if baseline.exists() else self._request.config.rootpath / baseline
        if not path.exists():
            pytest.fail(
                f"There is no baseline {baseline}. Make one: optibench compare ..., then "
                f"optibench baseline save RUN --out {baseline}",
                pytrace=False,
            )
        return path

    def _tell_models(self, run: Path) -> None:
        """Every undisturbed call of every case, as if pytest-benchmark had timed it."""
        from optibench import store
        from optibench.comparison import kept_seconds

        for name, seconds in kept_seconds(store.open_run(run).records()[0]).items():
            self._tell(f"{self._request.node.name}[{name}]", seconds)

    def _tell(self, name: str, seconds: list[float]) -> None:
        if not self._request.config.pluginmanager.has_plugin("benchmark") or not seconds:
            return
        benchmark = self._request.getfixturevalue("benchmark")
        benchmark._mode = "optibench"  # else it warns that it was not used
        if benchmark.disabled:  # --benchmark-disable, or pytest-xdist
            return
        # pytest-benchmark has no public way in for times that it did not take itself.
        stats = benchmark._make_stats(iterations=1)
        stats.name, stats.fullname = name, self._request.node.nodeid.replace(self._request.node.name, name)
        for one in seconds:
            stats.update(one)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Adds what ``in_turns`` measured to pytest-benchmark's JSON, as a baseline that the gate reads."""
    figures = config.stash.get(FIGURES, {})
    if figures:
        import msgspec

        from optibench.baseline import baseline_of_functions
        from optibench.strict_json import sealed_json

        whole: Baseline = baseline_of_functions(tuple(figures.values()))
        output_json["optibench"] = msgspec.json.decode(sealed_json(whole))


def _asked(baseline: Path, backend: str, precision: str | None) -> dict[str, Any]:
    """What the baseline measured of this backend, as arguments of ``optibench.compare``."""
    from optibench.baseline import of_path
    from optibench.errors import OptibenchError

    try:
        base = of_path(baseline)
    except OptibenchError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    parts = [case.case.split("/") for case in base.cases]
    mine = [part for part in parts if part[1:2] == [backend] and precision in (None, part[-1])]
    if not mine:
        build = f"{backend} {precision}" if precision else backend
        names = ", ".join(case.case for case in base.cases) or "none"
        pytest.fail(f"The baseline {baseline} has no case of {build}. It has: {names}.", pytrace=False)
    return {
        "targets": list(dict.fromkeys(part[0] for part in mine)),
        "precisions": list(dict.fromkeys(part[-1] for part in mine)),
        "batches": sorted({shape.batch for shape in base.shapes}),
        "lengths": sorted({shape.length for shape in base.shapes if shape.length}),
        "new_tokens": max((shape.new_tokens for shape in base.shapes), default=0) or None,
        "seed": base.seed,
        "accuracy_floor": base.accuracy_floor,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 (pytest captures it, and shows it with a failure)
