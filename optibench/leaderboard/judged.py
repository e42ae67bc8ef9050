"""Many files judged, each by itself: what is sound, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from optibench.errors import OptibenchError
from optibench.leaderboard import checks, submission
from optibench.leaderboard.rows import Entry, entry_of
from optibench.leaderboard.signing import Keys

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """One file. ``problems`` is empty and ``entry`` there if it is sound."""

    path: Path
    problems: tuple[str, ...]
    entry: Entry | None = None
    series: frozenset[str] = frozenset()

    @property
    def fine(self) -> bool:
        """Whether it may stand on a board."""
        return not self.problems


def judge(path: Path, keys: Keys) -> Judged:
    """One submission, or a run as the submission that it would be. What the file is to blame for is no error here."""
    try:
        signer = keys.signer(path) if path.is_file() else None
        found = submission.of_path(path)
    except OptibenchError as error:
        return Judged(path, (str(error),))
    result = checks.examined(found)
    if result.problems or result.computed is None:
        return Judged(path, result.problems)
    notes = checks.unchecked(found.records, result.computed)
    return Judged(path, (), entry_of(found, result.computed, signer, notes), submission.series_digests(found.records))


def judge_all(paths: Sequence[Path], keys: Keys, say: Say = lambda text: None) -> list[Judged]:
    """Each of these files and runs, and what several of them share that no two can."""
    found = []
    for number, path in enumerate(paths, 1):
        say(f"checking {path.name} ({number} of {len(paths)})")
        found.append(judge(path, keys))
    return list(_without_copies(found))


def _without_copies(found: Iterable[Judged]) -> Iterator[Judged]:
    """Those that share samples with another are told, but for the first: the verified, then the oldest one."""
    found = list(found)
    ranked = sorted(
        (one for one in found if one.entry),
        key=lambda one: (
            (one.entry.verified_by is None, one.entry.comparison.created, str(one.path)) if one.entry else ()
        ),
    )
    owners: dict[str, Judged] = {}
    copies: dict[Path, str] = {}
    for one in ranked:
        theirs = next((owners[digest] for digest in one.series if digest in owners), None)
        if theirs and theirs.entry and one.entry and theirs.entry.id == one.entry.id:
            copies[one.path] = f"it is the same submission as {theirs.path.name}"
        elif theirs:
            copies[one.path] = f"it shares samples with {theirs.path.name}: no two runs take the same nanoseconds"
        else:
            owners |= dict.fromkeys(one.series, one)
    for one in found:
        yield Judged(one.path, (copies[one.path],)) if one.path in copies else one
