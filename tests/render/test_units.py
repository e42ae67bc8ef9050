"""Numbers as people read them."""

from __future__ import annotations

import pytest

from optibench.render.units import bytes_text, ratio_text, score_text, seconds_text, share_text
from tests.factories import interval


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0 ns"),
        (0.000_000_45, "450 ns"),
        (0.000_935, "935 µs"),
        (0.000_999_7, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.9999, "1.00 s"),
        (83.44, "83.4 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_seconds_have_three_digits_and_a_unit_that_fits(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (512, "512 B"), (90_400_000, "90.4 MB"), (1.24e9, "1.24 GB")])
def test_bytes_count_in_powers_of_ten(count: float, text: str) -> None:
    assert bytes_text(count) == text


def test_ratios_scores_and_shares() -> None:
    assert ratio_text(interval(2.412)) == "2.41× (2.38–2.44)"
    assert ratio_text(interval(12.34, 0.5)) == "12.3× (11.8–12.8)"
    assert ratio_text(None) == "–"
    assert (score_text(0.7291), score_text(81.254)) == ("0.729", "81.25")
    assert (share_text(0.031), share_text(0.124), share_text(0)) == ("3.1%", "12%", "0.0%")
