"""Numbers as people read them: three digits and a unit that fits. ``–`` where there is no number."""

from __future__ import annotations

from collections.abc import Sequence

from optibench.results import Interval

NONE = "–"


def seconds_text(seconds: float | None) -> str:
    """``935 µs``, ``12.3 ms``, ``1.24 s``."""
    return _scaled(seconds, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)))


def bytes_text(count: float | None) -> str:
    """``90.4 MB``, ``1.24 GB``: powers of ten, as disks and model cards count."""
    return _scaled(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)))


def joules_text(joules: float | None) -> str:
    """``1.24 J``, ``12.3 mJ``."""
    return _scaled(joules, (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)))


def operations_text(per_second: float) -> str:
    """``201 Gop/s``, ``1.92 Top/s``."""
    return _scaled(per_second, (("Top/s", 1e12), ("Gop/s", 1e9), ("Mop/s", 1e6)))


def rate_text(per_second: float | None) -> str:
    """``417/s``."""
    return NONE if per_second is None else f"{_digits(per_second)}/s"


def share_text(share: float) -> str:
    """``3.1%``, ``12%``."""
    return f"{share * 100:.{1 if abs(share) < 0.0995 else 0}f}%"


def ratio_text(interval: Interval | None) -> str:
    """``2.41× (2.38–2.45)``: the estimate and its 95% interval."""
    if interval is None:
        return NONE
    places = 1 if interval.mid >= 10 else 3 if interval.high < 0.1 else 2
    return f"{interval.mid:.{places}f}× ({interval.low:.{places}f}–{interval.high:.{places}f})"


def score_text(value: float) -> str:
    """``0.729``, ``81.25``."""
    return f"{value:.{score_places(value)}f}"


def score_places(value: float) -> int:
    """Decimals of a score of this size; its change is shown with as many."""
    return 3 if abs(value) < 10 else 2


def change_text(change: Interval, places: int) -> str:
    """``-0.004 [-0.010, +0.002]``: signed, since a change can go both ways."""
    return f"{change.mid:+.{places}f} [{change.low:+.{places}f}, {change.high:+.{places}f}]"


def counted(number: int, noun: str) -> str:
    """``1 case``, ``3 cases``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[object]) -> str:
    """``1``, ``1, 8``."""
    return ", ".join(str(name) for name in names)


def _scaled(value: float | None, units: Sequence[tuple[str, float]]) -> str:
    """``value`` in the largest unit of which there is at least one."""
    if value is None:
        return NONE
    for unit, size in units:
        # By the rounded number: 999.7 ms is 1 s, not 1000 ms.
        if float(f"{abs(value) / size:.3g}") >= 1:
            return f"{_digits(value / size)} {unit}"
    return f"{_digits(value / units[-1][1])} {units[-1][0]}"


def _digits(value: float) -> str:
    """Three significant digits, never an exponent."""
    rounded = float(f"{value:.3g}")
    places = 0 if abs(rounded) >= 100 or rounded == 0 else 1 if abs(rounded) >= 10 else 2
    return f"{value:,.{places}f}" if abs(value) >= 1000 else f"{rounded:.{places}f}"
