"""Where further rounds go, on values alone."""

from __future__ import annotations

import msgspec
import pytest

from optibench.comparison import imprecise, undecided
from optibench.schedule import ANY, Budget, Open, cases_of_round, cases_that_fit, open_comparisons, possible_gain
from optibench.values import Case, Record, Workload
from tests.test_comparison import FP32, INT8, REFERENCE, SHAPE, TWIN, records

EDGE = Case(target="cpu", backend="openvino", precision="fp32")
SLOW = Case(target="cpu", backend="openvino", precision="int8-weights")
WORKLOAD = Workload(shapes=(SHAPE,))
GOOD = {REFERENCE: 0.9, INT8: 0.9, FP32: 0.9, EDGE: 0.9, SLOW: 0.9}


def held(found: list[Record], number: int = 6, room: int = ANY, spare: int = ANY) -> list[Case]:
    living = [case for case in dict.fromkeys(r.case for r in found) if not case.copy]
    return cases_of_round(found, living, REFERENCE, WORKLOAD, number, room, spare)[0]


def test_the_least_rounds_hold_every_case_the_reference_twice() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, FP32: 10.0}, rounds=2)
    assert held(found, number=3) == [REFERENCE, TWIN, INT8, FP32]


def test_further_rounds_hold_the_reference_its_twin_and_what_is_undecided() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, EDGE: 19.6}, scores=GOOD)
    assert undecided(found) == [EDGE]
    assert held(found) == [REFERENCE, TWIN, EDGE]


def test_when_all_is_decided_there_is_no_further_round() -> None:
    assert held(records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, FP32: 10.0}, scores=GOOD)) == []


def test_what_could_change_the_recommendation_comes_first() -> None:
    # Recommended: the reference. One case may be 2% slower at best, the other may turn out faster.
    found = records({REFERENCE: 20.0, TWIN: 20.0, SLOW: 20.5, EDGE: 19.6}, scores=GOOD)
    assert undecided(found) == [SLOW, EDGE]
    assert [one.cases for one in open_comparisons(found)] == [(EDGE,), (SLOW,)]
    assert held(found, room=3) == [REFERENCE, TWIN, EDGE]
    assert held(found, room=4) == [REFERENCE, TWIN, EDGE, SLOW]


def test_an_open_case_below_the_accuracy_floor_comes_last() -> None:
    scores = {**GOOD, EDGE: 0.5}
    found = records({REFERENCE: 20.0, TWIN: 20.0, EDGE: 19.6, SLOW: 20.4}, scores=scores)
    assert [one.gain for one in open_comparisons(found) if one.cases == (EDGE,)] == [0.0]


def test_an_open_case_that_cannot_reach_the_recommended_one_comes_last() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, EDGE: 19.6, INT8: 5.0}, scores=GOOD)
    (one,) = open_comparisons(found)
    assert (one.cases, one.gain) == ((EDGE,), 0.0)


def test_two_front_runners_get_rounds_while_the_other_may_be_faster_by_more_than_the_floor() -> None:
    noisy = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, EDGE: 5.01}, scores=GOOD, noise=0.03, seed=4)
    assert undecided(noisy) == []
    (one,) = open_comparisons(noisy)
    assert set(one.cases) == {INT8, EDGE}
    assert one.gain > 0.02
    assert set(held(noisy)) == {REFERENCE, TWIN, INT8, EDGE}


def test_two_front_runners_that_are_surely_within_the_floor_get_none() -> None:
    quiet = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, EDGE: 5.01}, scores=GOOD, noise=0.002)
    assert open_comparisons(quiet) == []
    assert possible_gain(quiet, INT8, EDGE) == 0.0


def test_a_slower_second_needs_no_round_to_stay_the_second() -> None:
    assert open_comparisons(records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, EDGE: 6.0}, scores=GOOD, noise=0.01)) == []


def test_a_comparison_of_two_is_held_whole_or_not_at_all() -> None:
    pair, single = Open(cases=(INT8, EDGE), gain=1.0), Open(cases=(SLOW,), gain=0.5)
    assert cases_that_fit([pair, single], 1) == [SLOW]
    assert cases_that_fit([pair, single], 2) == [INT8, EDGE]
    assert cases_that_fit([pair, Open(cases=(INT8, SLOW), gain=0.1)], 3) == [INT8, EDGE, SLOW]
    assert cases_that_fit([pair], 0) == []


def test_a_decided_case_whose_figure_is_imprecise_gets_rounds_out_of_what_is_spare() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0}, scores=GOOD, noise=0.3)
    assert (undecided(found), open_comparisons(found), imprecise(found)) == ([], [], [INT8])
    assert held(found) == [REFERENCE, TWIN, INT8]
    assert held(found, spare=2) == held(found, spare=0) == []


def test_imprecise_figures_wait_until_all_is_decided() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0, EDGE: 19.6}, scores=GOOD, noise=0.3)
    assert INT8 in imprecise(found)
    assert held(found, spare=ANY) == [REFERENCE, TWIN, EDGE]


def test_a_quick_run_asks_for_no_precise_figures() -> None:
    quick = msgspec.structs.replace(WORKLOAD, tier="quick")
    assert imprecise(records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0}, noise=0.3, workload=quick)) == []


def test_what_finds_no_room_is_named() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, EDGE: 19.6, INT8: 5.0}, scores=GOOD)
    assert cases_of_round(found, [REFERENCE, EDGE, INT8], REFERENCE, WORKLOAD, 6, 2) == ([], [EDGE])
    everyone = [REFERENCE, TWIN, EDGE]
    assert cases_of_round(found, [REFERENCE, EDGE], REFERENCE, WORKLOAD, 2, 2) == ([], everyone)


def test_a_round_that_others_disturbed_does_not_count_and_is_repeated() -> None:
    calm = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0}, rounds=5)
    spoilt = records({REFERENCE: 20.0, TWIN: 20.0, INT8: 5.0}, rounds=1, disturbed={INT8: 20})
    assert held(calm) == []
    four_and_one = [*(r for r in calm if r.round < 5), *(msgspec.structs.replace(r, round=5) for r in spoilt)]
    assert held(four_and_one) == [REFERENCE, TWIN, INT8]


def test_rounds_end_where_the_most_that_count_are_reached() -> None:
    found = records({REFERENCE: 20.0, TWIN: 20.0, EDGE: 19.6}, rounds=20)
    assert held(found, number=21) == []


def test_the_time_left_goes_by_the_plan_first_and_then_by_what_a_round_took() -> None:
    now = 0.0
    budget = Budget(Workload(shapes=(SHAPE,), budget_seconds=300.0, rounds=5), 2.0, clock=lambda: now)
    assert budget.to_come(1, 5) == 5 * 5 * 2.0
    assert budget.room == 130
    budget.took(5, 20.0)
    now = 20.0
    assert budget.to_come(2, 5) == 4 * 20.0
    assert budget.room == pytest.approx(280 / (4 * 1.15), abs=1)
    assert budget.spare == budget.room
    budget.spent = 270.0  # seconds that building took: then better figures alone are worth two processes more
    assert budget.spare == 2
    now = 290.0
    assert budget.to_come(5, 5) == 10.0  # never more than the budget
    assert budget.to_come(6, 1) == 10.0  # past the least rounds: at most what is left of it
    assert budget.room == 2
    assert budget.room_of_least == 2
    budget.took(5, 17.0)
    assert (budget.room, budget.room_of_least) == (2, 3)  # one of the least rounds may exceed the budget by a little
