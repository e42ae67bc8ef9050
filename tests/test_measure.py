"""The meter on virtual clocks: what is counted and what is not."""

from __future__ import annotations

from typing import Any

from optibench import measure
from optibench.backends.fake import FakeClocks


class Runtime:
    """Calls of planned lengths, in milliseconds, on clocks that only they and sleeping move."""

    def __init__(self, lengths: Any, spin_ms: float = 0.0) -> None:
        self.clocks = FakeClocks()
        self.lengths = iter(lengths)
        self.calls = 0
        self.spin = int(spin_ms * 1e6)
        self.clocks.sleep = self.sleep  # type: ignore[method-assign]  # a process whose threads spin while it sleeps

    def __call__(self) -> None:
        self.calls += 1
        wall = int(next(self.lengths) * 1e6)
        self.clocks.wall += wall
        self.clocks.cpu += 2 * wall

    def sleep(self, seconds: float) -> None:
        burnt = min(self.spin, int(seconds * 1e9))
        self.spin -= burnt
        self.clocks.cpu += burnt
        self.clocks.wall += int(seconds * 1e9)


def forever(ms: float) -> Any:
    while True:
        yield ms


def test_the_first_call_of_a_burst_is_not_counted() -> None:
    runtime = Runtime([99.0, *([10.0] * 50)])
    burst = measure.Meter(runtime.clocks).burst(measure.Timed(runtime), 0, 0.06)
    assert burst.wall_ns == (10_000_000,) * 6
    assert burst.cpu_ns == 2 * sum(burst.wall_ns)


def test_a_slow_model_still_gets_two_calls() -> None:
    runtime = Runtime(forever(2000.0))
    assert len(measure.Meter(runtime.clocks).burst(measure.Timed(runtime), 0, 0.06).wall_ns) == 2


def test_the_first_of_long_calls_counts_too() -> None:
    for ms, calls in ((250.0, 2), (350.0, 1)):
        runtime = Runtime(forever(ms))
        meter, timed = measure.Meter(runtime.clocks), measure.Timed(runtime)
        meter.warm_up(timed)
        before = runtime.calls
        assert len(meter.burst(timed, 0, 0.06, least=1).wall_ns) == 1
        assert runtime.calls - before == calls


def test_a_further_shape_is_warm_after_one_long_call_or_two_short_windows() -> None:
    for ms, calls in ((350.0, 1), (10.0, 6)):
        runtime = Runtime(forever(ms))
        assert measure.Meter(runtime.clocks).warm_up(measure.Timed(runtime), further=True) == (calls, True)


def test_a_fast_model_gets_no_more_than_a_record_can_hold() -> None:
    runtime = Runtime(forever(0.001))
    assert len(measure.Meter(runtime.clocks).burst(measure.Timed(runtime), 0, 0.06).wall_ns) == measure.MOST_CALLS


def test_warming_up_ends_when_the_median_stands_still() -> None:
    runtime = Runtime([*(60.0 - 2 * n for n in range(20)), *([20.0] * 500)])
    calls, settled = measure.Meter(runtime.clocks).warm_up(measure.Timed(runtime))
    assert settled
    assert calls == runtime.calls < 60


def test_warming_up_gives_up_on_a_model_that_never_settles() -> None:
    runtime = Runtime(10.0 * 1.1**n for n in range(200))
    _, settled = measure.Meter(runtime.clocks).warm_up(measure.Timed(runtime))
    assert not settled


def test_a_turn_ends_only_when_the_threads_have_stopped_spinning() -> None:
    runtime = Runtime(forever(10.0), spin_ms=40.0)
    meter = measure.Meter(runtime.clocks)
    meter.burst(measure.Timed(runtime), 0, 0.06)
    assert runtime.spin == 0
    assert meter.burst(measure.Timed(runtime), 1, 0.06).idle_cpu_ns == 0


def test_a_process_that_never_rests_is_not_waited_for_for_ever_and_its_idle_time_tells() -> None:
    runtime = Runtime(forever(10.0), spin_ms=10_000.0)
    meter = measure.Meter(runtime.clocks)
    before = runtime.clocks.wall
    meter.burst(measure.Timed(runtime), 0, 0.06)
    assert (runtime.clocks.wall - before) / 1e9 < 0.07 + measure.QUIET_LIMIT_SECONDS + 0.02
    runtime.sleep(0.5)  # the others' turns
    assert meter.burst(measure.Timed(runtime), 1, 0.06).idle_cpu_ns == 500_000_000


def test_sensors_are_read_after_the_timed_calls_and_what_that_takes_is_part_of_no_time() -> None:
    runtime, plain = Runtime(forever(10.0)), Runtime(forever(10.0))
    calls: list[int] = []

    def look() -> None:
        calls.append(runtime.calls)
        runtime.clocks.wall += 5_000_000
        runtime.clocks.cpu += 5_000_000

    burst = measure.Meter(runtime.clocks).burst(measure.Timed(runtime), 0, 0.06, look=look)
    assert burst == measure.Meter(plain.clocks).burst(measure.Timed(plain), 0, 0.06)
    assert calls == [plain.calls]


def test_calls_that_follow_one_another_are_as_many_as_asked_for_and_the_rewinding_is_not_counted() -> None:
    runtime = Runtime([99.0, *([10.0] * 7)] * 3)
    timed = measure.Timed(runtime, rewind=runtime, calls=7)
    meter = measure.Meter(runtime.clocks)
    assert meter.burst(timed, 0, 0.06).wall_ns == meter.burst(timed, 1, 0.06).wall_ns == (10_000_000,) * 7
    seconds, _ = meter.first_call(timed)
    assert (seconds, runtime.calls) == (0.01, 18)


def test_warming_up_goes_back_to_the_beginning_before_each_window() -> None:
    runtime = Runtime([*([99.0, *([10.0] * 7)] * 2), 0.0])
    calls, settled = measure.Meter(runtime.clocks).warm_up(measure.Timed(runtime, rewind=runtime, calls=7))
    assert (calls, settled) == (14, True)
