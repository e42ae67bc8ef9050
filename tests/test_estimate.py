from __future__ import annotations

from optibench.estimate import Estimate


def test_one_artifact_and_one_round_are_not_told_in_the_plural() -> None:
    one = Estimate(to_build=1, build_seconds=9.0, process_seconds=3.0, processes=4, rounds=1)
    assert "1 artifact to build (9 s), 1 round of 12 s" in one.sentence
