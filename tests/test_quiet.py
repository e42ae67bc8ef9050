"""Waiting for a quiet machine, on a clock and a load of the test's own: no core is burnt and nothing sleeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optibench import quiet

STAT = """cpu  100 0 50 800 10 0 5 5 0 0
cpu0 60 0 30 400 5 0 3 2 0 0
cpu1 40 0 20 400 5 0 2 3 7 0
intr 12 0 0
"""


class Machine:
    """A machine whose load is a list of shares, one a look; a look takes a second, as the real one's sleep."""

    def __init__(self, *shares: float | None) -> None:
        self.now = 0.0
        self.looks = 0
        self.shares: Iterator[float | None] = iter(shares)
        self.said: list[str] = []

    def busy(self) -> float | None:
        self.now += 1.0
        self.looks += 1
        return next(self.shares)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, allowance: float) -> quiet.Patience:
        return quiet.Patience(allowance, self.said.append, self.busy, self.sleep, lambda: self.now)


def test_busy_ticks_are_those_of_the_usable_cores_stolen_time_among_them() -> None:
    assert quiet.ticks_from_text(STAT, {0, 1}) == (60 + 30 + 3 + 2 + 40 + 20 + 2 + 3, 500 + 470)
    assert quiet.ticks_from_text(STAT, {1}) == (65, 470)
    assert quiet.ticks_from_text("", {0}) == (0, 0)


def test_a_quiet_machine_is_not_waited_for() -> None:
    machine = Machine(0.02)
    patience = machine.patience(300)
    assert patience.wait(300) is None
    assert (patience.waited_seconds, machine.said) == (0.0, [])


def test_a_busy_machine_is_waited_for_until_it_is_quiet_and_the_wait_is_said() -> None:
    machine = Machine(0.63, 0.5, 0.01)
    patience = machine.patience(300)
    assert patience.wait(300) is None
    assert patience.waited_seconds == pytest.approx(1 + 4 + 1 + 4)
    assert "63% of the cores" in machine.said[0]
    assert "of 5 min waited" in machine.said[0]


def test_the_allowance_is_for_the_whole_run_and_then_it_is_measured_all_the_same() -> None:
    machine = Machine(*[0.4] * 50)
    patience = machine.patience(20)
    assert patience.wait(300) == 0.4
    assert 20 <= patience.waited_seconds <= 22
    looks = machine.looks
    assert patience.wait(300) is None  # nothing is left of it: no further look
    assert machine.looks == looks


def test_waiting_never_takes_more_than_the_budget_leaves() -> None:
    machine = Machine(*[0.4] * 50)
    assert machine.patience(300).wait(8) == 0.4
    assert machine.now <= 10
    assert Machine().patience(300).wait(-5) is None


def test_without_an_allowance_nothing_is_even_looked_at() -> None:
    machine = Machine()
    assert machine.patience(0).wait(300) is None
    assert machine.looks == 0


def test_a_system_that_does_not_tell_its_load_is_not_waited_for() -> None:
    assert Machine(None).patience(300).wait(300) is None


def test_the_real_reader_gives_a_share_or_says_that_it_cannot_tell() -> None:
    share = quiet.busy_share(0.05)
    assert share is None or 0 <= share <= 1
