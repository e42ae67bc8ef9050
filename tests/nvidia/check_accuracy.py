"""The graphs that TensorRT's engines are built of, against the accuracy floor, on a real model and labelled data."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench.cache import Cache
from optibench.values import Workload
from tests.nvidia import accuracy

FLOOR = Workload(shapes=()).accuracy_floor


@pytest.mark.slow
def test_what_nncf_places_keeps_the_score_above_the_floor_and_is_what_is_documented(cache_root: Path) -> None:
    found = accuracy.kept(accuracy.BY_NNCF, Cache(cache_root))
    assert {name: one.share for name, one in found.items() if one.share < FLOOR} == {}
    for name, one in found.items():
        score, share, cosine = accuracy.documented()[name].replace("%", "").split(" | ")
        assert (one.score, one.cosine) == (
            pytest.approx(float(score), abs=0.01),
            pytest.approx(float(cosine), abs=0.01),
        )
        assert 100 * one.share == pytest.approx(float(share), abs=1.0)


def test_every_graph_is_in_the_documented_table_and_those_below_the_floor_are_told() -> None:
    rows = accuracy.documented()
    assert list(rows) == list(accuracy.FORMS)
    below = [name for name, row in rows.items() if float(row.split(" | ")[1].rstrip("%")) / 100 < FLOOR]
    assert below == ["int8 by modelopt"]
    assert "modelopt's int8 smooths nothing and falls below a floor of 99% here" in accuracy.DOCS.read_text()
