"""Whether a build generates what the reference generates, token for token: pure functions of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import msgspec

from optibench.results import Agreement, CaseResult
from optibench.values import Case, Record


def with_agreement(
    records: Sequence[Record], results: Iterable[CaseResult], reference: Case | None
) -> list[CaseResult]:
    """The results, each with how its case's tokens compare to the reference's; as they are where none were made."""
    made = {record.case: record.generated for record in records if record.generated}
    right = made.get(reference) if reference else None
    by_name = {case.name: agreement(tokens, right) for case, tokens in made.items() if right and case != reference}
    return [msgspec.structs.replace(result, agreement=by_name.get(result.case)) for result in results]


def agreement(mine: Sequence[Sequence[int]], right: Sequence[Sequence[int]]) -> Agreement | None:
    """How far the same prompts led to the same tokens. None where they are not the same prompts."""
    if len(mine) != len(right):
        return None
    # A text that ends sooner than the other parts from it there.
    pairs = [list(zip_longest(a, b)) for a, b in zip(mine, right, strict=True)]
    parts = {
        number: next((place for place, (a, b) in enumerate(pair, 1) if a != b), None)
        for number, pair in enumerate(pairs, 1)
    }
    tokens = sum(map(len, pairs))
    return Agreement(
        prompts=len(pairs),
        tokens=tokens,
        equal=sum(a == b for pair in pairs for a, b in pair),
        parts=tuple((number, place) for number, place in parts.items() if place is not None),
    )
