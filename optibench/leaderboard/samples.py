"""Samples that no two measurements can share: long runs of equal nanoseconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from optibench.values import Record

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

WINDOW = 16
"""Calls in a row. A call varies by hundreds of steps of the clock: sixteen equal ones do not come about twice."""
DISTINCT = 4
"""Of these calls so many at least must differ: a clock that only knows microseconds repeats itself over short calls."""
EVEN = 20
"""So many calls that all took exactly the same time were not measured with a clock."""
NAMED = 3


def copied_samples(records: Sequence[Record]) -> Iterator[str]:
    """Where ``WINDOW`` calls in a row took the same nanoseconds as at another place of the run, and where every call of
    a process took the same: sentences, of which ``NAMED`` at most."""
    import numpy as np

    places: list[str] = []
    even: list[str] = []
    windows, owners = [], []
    for record in records:
        for series in record.measurement.series if record.measurement else ():
            calls = np.array([wall for burst in series.bursts for wall in burst.wall_ns], np.int64)
            place = f"{record.case.name} at {series.shape.name} in round {record.round}"
            if len(calls) >= EVEN and (calls == calls[0]).all():
                even.append(f"{place}: all {len(calls)} calls took {calls[0]} ns, which no clock gives")
            found = _windows(calls)
            windows.append(found)
            owners.append(np.full(len(found), len(places)))
            places.append(place)
    yield from even[:NAMED]
    if not windows:
        return
    hashes, owner = np.concatenate(windows), np.concatenate(owners)
    order = np.argsort(hashes, kind="stable")
    equal = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    pairs = zip(owner[order][equal].tolist(), owner[order][equal + 1].tolist(), strict=True)
    seen = list(dict.fromkeys(pairs))
    for one, other in seen[:NAMED]:
        where = f"{places[one]} repeats itself" if one == other else f"{places[one]} and {places[other]} share samples"
        yield f"{where}: {WINDOW} calls in a row took the same nanoseconds, so one was copied"
    if len(seen) > NAMED:
        yield f"{len(seen) - NAMED} more places share samples"


def _windows(calls: Array) -> Array:
    """A number for each ``WINDOW`` calls in a row that vary: equal calls give equal numbers."""
    import numpy as np

    if len(calls) < DISTINCT:
        return np.empty(0, np.uint64)
    calls = np.pad(calls, (0, max(0, WINDOW - len(calls))))  # few calls are one window
    view = np.lib.stride_tricks.sliding_window_view(calls.astype(np.uint64), WINDOW)
    # The upper half of the bits, of odd factors drawn once: what differs in one call differs in the sum.
    factors = np.random.default_rng(0).integers(1, 1 << 63, WINDOW, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = (view * factors).sum(axis=1, dtype=np.uint64)
    ordered = np.sort(view, axis=1)
    distinct = 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(axis=1)
    found: Array = hashes[distinct >= DISTINCT]
    return found
