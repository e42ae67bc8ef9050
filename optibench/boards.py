"""Submissions from start to end: a run packed, files checked, a board built. What `optibench leaderboard` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optibench import folders, runs, store
from optibench.errors import NothingMeasured, OptibenchError
from optibench.leaderboard import checks, signing, submission
from optibench.leaderboard.judged import Judged, judge_all
from optibench.leaderboard.rows import board_of

MARK = "data/board.json"
"""By this file a folder is known as a board's site."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Submitted:
    """A submission's file and its signature's, or why there is none: what its checks found."""

    path: Path | None
    signature: Path | None = None
    problems: tuple[str, ...] = ()


def submit(run: Path, out: Path | None = None, key: Path | None = None, password: str | None = None) -> Submitted:
    """Packs a run into one file for a board: ``out``, a file or a folder, by default here. A run that no board would
    take is not packed.

    Errors: no finished run is there, a file is in the way, the key cannot be used.
    """
    packed = submission.pack(run)
    if problems := checks.examined(packed.submission).problems:
        return Submitted(None, problems=problems)
    out = out.expanduser() if out else Path(packed.name)
    is_folder = out.is_dir() or not (out.exists() or out.suffix)  # a name without a suffix is one to be made
    path = out / packed.name if is_folder else out
    if not path.name.endswith(submission.SUFFIX):
        raise OptibenchError(f"{path} must end in {submission.SUFFIX}, by which boards find submissions.")
    if path.exists() and path.read_bytes() != packed.data:
        raise OptibenchError(f"{path} exists already, and is another one. Give another file with --out, or remove it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        store.write_whole(path, packed.data)
        return Submitted(path, signing.sign(path, key, password) if key else None)
    except OSError as error:
        raise OptibenchError(
            f"{path} cannot be written: {error.strerror or error}. Give another place with --out."
        ) from error


def validate(
    places: Sequence[Path], keys: Path | None = None, say: Say = lambda text: None, besides: Path | None = None
) -> list[Judged]:
    """Every submission and run at these places, judged, but for what lies in ``besides``.

    Errors: a place does not exist, or there is nothing to judge.
    """
    trusted = signing.Keys(keys)
    paths = [path for path in runs.found_in(places) if besides is None or besides not in path.resolve().parents]
    if not paths:
        raise OptibenchError(
            f"No submission (*{submission.SUFFIX}) and no run was found there: {', '.join(map(str, places))}"
        )
    return judge_all(paths, trusted, say)


@dataclass(frozen=True)
class Built:
    """A site, what stands on it, and the files that were refused."""

    path: Path
    rows: int
    submissions: int
    refused: tuple[Judged, ...]


def build(
    places: Sequence[Path],
    out: Path,
    *,
    title: str = "Leaderboard",
    address: str | None = None,
    keys: Path | None = None,
    files: bool = True,
    say: Say = lambda text: None,
) -> Built:
    """The board of all that is sound at these places, as a static site in ``out``, which is replaced as a whole.

    ``address`` is where the site will lie (for its feed); ``files`` puts the submissions themselves beside the pages.
    Errors: a place does not exist, nothing there is sound, something else lies at ``out``.
    """
    from optibench.render import board as render

    out = out.expanduser()
    folders.check_free(out, MARK, "a board's site")
    judged = validate(places, keys, say, besides=out.resolve())
    entries = [one.entry for one in judged if one.entry]
    refused = tuple(one for one in judged if not one.fine)
    if not entries:
        why = f" {refused[0].path.name}: {refused[0].problems[0]}" if refused else ""
        raise NothingMeasured(f"No submission is sound, so there is nothing to show.{why}")
    say("writing the site")
    board = board_of(entries)
    with folders.replaced(out) as new:
        for name, data in render.site(board, entries, title=title, address=address, files=files):
            folders.put(new / name, data)
        for one in judged if files else ():
            if one.entry:
                folders.put(new / "submissions" / f"{one.entry.id}{submission.SUFFIX}", submission.bytes_of(one.path))
    return Built(out, len(board.rows), len(entries), refused)
