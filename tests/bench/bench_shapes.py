"""What six shapes cost beside one: wall time of whole commands, from an empty cache and from a filled one. Figures, no
verdicts; ``tox -e bench`` keeps them in reports/bench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.bench.bench_figures import run

COMMAND = ("compare", "minilm", "--targets", "cpu", "--quick", "--json")
SHAPES = {"one": (), "six": ("--length", "32,128,512", "--batch", "1,8")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")


@pytest.mark.parametrize("cache", ["empty", "filled"])
def test_six_shapes_beside_one(benchmark: Any, folder: Path, cache: str) -> None:
    """Each has a cache of its own, which the first run fills."""

    def both() -> None:
        walls: dict[str, float] = {}
        for name, more in SHAPES.items():
            found, spent = run(folder / f"cache-{name}", *COMMAND, *more, "--out", str(folder / f"{name}-{cache}"))
            walls[name] = spent["wall"]
            benchmark.extra_info[f"{name}, {cache} cache"] = {
                "shapes": len({(case["batch"], case["length"]) for case in found["cases"]}),
                "wall_seconds": round(spent["wall"], 1),
                "in_rounds_seconds": round(spent["rounds"], 1),
                "cases": len({case["case"] for case in found["cases"] if case["status"] == "ok"}),
                "rounds": max(case["rounds"] for case in found["cases"]),
            }
        benchmark.extra_info["six over one"] = {"wall_seconds": round(walls["six"] / walls["one"], 2)}

    benchmark.pedantic(both, rounds=1)
