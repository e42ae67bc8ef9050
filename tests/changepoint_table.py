"""Remakes the table of docs/history.md: python -m tests.changepoint_table (some minutes)."""

from __future__ import annotations

import numpy as np

from optibench.changepoints import change_points

SERIES = 500
RUNS = (6, 12, 30)
ROWS = (
    ("1%", 0.01, 0.0, 0.0),
    ("2%", 0.02, 0.0, 0.0),
    ("3%", 0.03, 0.0, 0.0),
    ("1%, one run in ten hit by a neighbour", 0.01, 0.1, 0.0),
    ("1%, half of it carried over to the next run", 0.01, 0.0, 0.5),
    ("2%, half of it carried over to the next run", 0.02, 0.0, 0.5),
)


def series(seed: list[int], runs: int, noise: float, hit: float, carried: float) -> np.ndarray:
    """Logarithms of speed-ups without a step. A hit adds 8% in the mean, exponentially distributed."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, noise, runs)
    if hit:
        struck = rng.random(runs) < hit
        values[struck] += rng.exponential(0.08, struck.sum())
    for at in range(1, runs):
        values[at] = carried * values[at - 1] + np.sqrt(1 - carried**2) * values[at]
    return values


def cell(runs: int, noise: float, hit: float, carried: float) -> str:
    """False alarms / 5% slower found / 10% slower found, at most one run beside where it is."""
    alarms = sum(bool(change_points(series([1, s, runs], runs, noise, hit, carried))) for s in range(SERIES))
    found = []
    for step in (0.05, 0.10):
        right = 0
        for s in range(SERIES):
            values = series([2, s, runs], runs, noise, hit, carried)
            values[runs // 2 :] -= step
            right += any(abs(at - runs // 2) <= 1 for at in change_points(values))
        found.append(right / SERIES)
    return f"{alarms / SERIES:.1%} / {found[0]:.0%} / {found[1]:.0%}"


if __name__ == "__main__":
    print("| noise from run to run |", " | ".join(f"{runs} runs" for runs in RUNS), "|")
    for name, *settings in ROWS:
        print(f"| {name} |", " | ".join(cell(runs, *settings) for runs in RUNS), "|", flush=True)
