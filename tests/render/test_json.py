"""``--json``: the same values as comparison.json, safe to print."""

from __future__ import annotations

import math

import msgspec
import pytest

from optibench.errors import OptibenchError
from optibench.render import json
from optibench.results import Comparison, Latency
from tests.factories import case, comparison
from tests.render.hostile import OBEYED, hostile_comparison


@pytest.mark.parametrize("made", [comparison(), hostile_comparison()], ids=["plain", "hostile"])
def test_what_is_printed_reads_back_as_the_same_comparison(made: Comparison) -> None:
    text = json.render(made)
    assert msgspec.json.decode(text, type=Comparison) == made
    assert not set(OBEYED) & set(text)


def test_nan_is_refused() -> None:
    with pytest.raises(OptibenchError, match="p50 is nan"):
        json.render(comparison(cases=(case(latency_seconds=Latency(p50=math.nan, p90=None, p99=None)),)))
