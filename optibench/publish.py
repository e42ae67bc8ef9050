"""What `optibench publish` and `leaderboard publish` send to the Hugging Face Hub: a build, records, a board.

Folders, names and secrets stay here: what is said of a run is said of it as a submission to a board (private.py).
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench import boards, package, plugins, runs, upload, weights
from optibench.build import Workshop
from optibench.cache import Cache, default_root
from optibench.errors import OptibenchError, unknown_name
from optibench.leaderboard import submission
from optibench.parquet import parquet_from_records
from optibench.plan import Plan
from optibench.render import card
from optibench.render.plain import plain
from optibench.reported import Reported
from optibench.results import CaseResult, Comparison
from optibench.strict_json import UNREADABLE
from optibench.upload import Content, Place, Sent, There, Upload
from optibench.values import Artifact, Case

if TYPE_CHECKING:
    from optibench.arrays import Arrays

Say = Callable[[str], None]


@dataclass(frozen=True)
class Shipped:
    """What would be sent, file by file, and what became of it (None: a dry run, nothing was sent)."""

    place: Place
    sizes: dict[str, int]
    private: bool
    sent: Sent | None


def run(
    path: Path,
    to: str,
    *,
    case: str | None = None,
    private: bool = True,
    branch: str | None = None,
    dry_run: bool = False,
    say: Say = lambda text: None,
) -> Shipped:
    """Publishes a run: to ``hub:user/name`` its recommended build (or that of ``case``) with a card, to
    ``hub-dataset:user/name`` its records, as a file of their own beside those of other runs.

    Errors: no finished run is there; nothing is recommended, or that build is no longer in the cache; what
    ``upload`` raises.
    """
    place = upload.place_from_text(to, ("model", "dataset"), branch)
    if place.kind == "dataset":
        if case:
            raise OptibenchError("--case goes with hub:user/name: to a data set go all records of a run.")
        return _records(path, place, private, dry_run)
    return _build(path, place, case, private, dry_run, say)


def site(path: Path, to: str, *, private: bool = True, branch: str | None = None, dry_run: bool = False) -> Shipped:
    """Publishes a board's site, as ``leaderboard build`` made it, as a static Space: what it no longer holds goes.

    Errors: no site is there; a Space of another purpose lies at that place; what ``upload`` raises.
    """
    place = upload.place_from_text(to, ("space",), branch)
    path = path.expanduser()
    if not (path / boards.MARK).is_file():
        raise OptibenchError(f"{path} holds no board: expected a folder that optibench leaderboard build wrote.")
    files = _files_in(path)
    there = None if dry_run else upload.look(place)
    names = _ours(place, there, boards.MARK)
    before = upload.read(place, there, package.README) if there else None
    files[package.README] = card.space_card(place.repo, before).encode()
    gone = sorted(names - files.keys() - upload.GIVEN)
    return _ship(Upload(place, files, "The board, built anew", gone, private), there)


def _records(path: Path, place: Place, private: bool, dry_run: bool) -> Shipped:
    packed = submission.pack(path).submission
    name = f"data/{packed.id}.parquet"
    there = None if dry_run else upload.look(place)
    names = there.files if there and there.files is not None else frozenset()
    files: dict[str, Content] = {}
    if name not in names:
        files[name] = parquet_from_records(packed.records)
    if package.README not in names:
        files[package.README] = card.dataset_card(place.repo).encode()
    return _ship(Upload(place, files, f"Records of {plain(packed.claimed.model.id)}"[:200], private=private), there)


def _build(path: Path, place: Place, named: str | None, private: bool, dry_run: bool, say: Say) -> Shipped:
    packed = submission.pack(path).submission
    comparison = packed.claimed
    result = _chosen(comparison, named, path)
    with _folder(path, result, place, say) as (folder, artifact):
        there = None if dry_run else upload.look(place)
        names = _ours(place, there, package.MANIFEST)
        before = upload.read(place, there, package.README) if there else None
        picture = importlib.util.find_spec("vl_convert") is not None
        if picture:
            from optibench.render import png

            (folder / card.PICTURE).write_bytes(png.render_run(Reported(comparison=comparison, records=packed.records)))
        readme = folder / package.README
        text = card.model_card(
            readme.read_text(encoding="utf-8"), comparison, result, place.repo, artifact.format,
            picture=picture, before=before,
        )  # fmt: skip
        readme.write_text(text, encoding="utf-8")
        files = _files_in(folder)
        gone = sorted((_files_of(place, there) & names) - files.keys())
        message = f"{result.backend} {result.precision} of {plain(comparison.model.id)}"[:200]
        return _ship(Upload(place, files, message, gone, private), there)


def _chosen(comparison: Comparison, named: str | None, path: Path) -> CaseResult:
    """The case that is published, at its first shape."""
    cases = {case.case: case for case in reversed(comparison.cases) if not case.variant}
    if named is None and comparison.recommended is None:
        why = comparison.recommended_reason or "no reason was recorded."
        raise OptibenchError(f"{path} recommends no build: {why} Name one with --case, such as cpu/openvino/int8.")
    name = named or (comparison.recommended.case if comparison.recommended else "")
    if name not in cases:
        raise unknown_name("case", name, cases)
    found = cases[name]
    if found.status != "ok":
        raise OptibenchError(f"{name} was not measured ({found.status}: {found.reason}), so it is not published.")
    if not hasattr(plugins.load("backend", found.backend), "usage"):
        keeps = "" if named else f"{path} recommends to keep the model as it is. "
        raise OptibenchError(
            f"{keeps}{name} is the model itself: no build was made of it that could be published. "
            "Name a build with --case."
        )
    return found


@contextmanager
def _folder(path: Path, result: CaseResult, place: Place, say: Say) -> Iterator[tuple[Path, Artifact]]:
    """The very build that was measured in a folder as `optibench export` writes it. Error: it is no longer here."""
    kept = runs.open_kept(path)
    records, _ = kept.records()
    case = Case(target=result.target, backend=result.backend, precision=result.precision)
    artifact = next((r.artifact for r in reversed(records) if r.case == case and r.artifact), None)
    try:
        plan = msgspec.convert(kept.start()["plan"], Plan)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise OptibenchError(f"{path} was begun by another version of optibench ({error}): measure it anew.") from error
    package.check_can_be_written(plan.model, case.backend)
    again = f"Make it again: measure {plan.model.ref.id} anew on this machine, then publish that run."
    if not Path(plan.model.path).exists():
        raise OptibenchError(f"The model of this run, whose tokenizer goes with the build, is no longer here. {again}")
    if artifact is None or not _is_whole(artifact):
        raise OptibenchError(
            f"The build {case.name} that was measured is no longer in the cache, or is not what was measured. {again}"
        )
    with tempfile.TemporaryDirectory(prefix="optibench-") as name:
        folder = Path(name)
        get = (f"hf download {place.repo}{f' --revision {place.branch}' if place.branch else ''} --local-dir build",)
        package.fill(folder, plan.model, case, artifact, lambda: _example(plan, say), get)
        yield folder, artifact


def _example(plan: Plan, say: Say) -> Arrays:
    """An example of the model's inputs: from the cache, or prepared anew."""
    cache = Cache(default_root(), say)
    with Workshop(plan, cache, Path(os.devnull), say) as workshop:
        return package.inputs_of(plan, workshop, cache)


def _is_whole(artifact: Artifact) -> bool:
    """Whether what lies there is what was measured: an entry of the cache as a whole, or the user's own graph."""
    path = Path(artifact.path)
    if not path.is_file():
        return False
    if artifact.recipe:
        try:
            return Cache(path.parent.parent.parent).verify(path.parent.name).sha256 == artifact.sha256
        except (OSError, OptibenchError):
            return False
    return weights.digest(weights.graph_files(path)) == artifact.sha256


def _files_in(folder: Path) -> dict[str, Content]:
    """Every file below a folder, by its name there. Error: one is a link, which may lead anywhere on this machine."""
    found = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    if link := next((path for path in found if path.is_symlink()), None):
        raise OptibenchError(f"{link} is a link, and only files are sent. Put the file there, or take the link away.")
    return {file.relative_to(folder).as_posix(): file for file in found}


def _ours(place: Place, there: There | None, mark: str) -> frozenset[str]:
    """The names of what lies there, all of it ours to replace. Error: it is of another purpose."""
    names = there.files if there and there.files is not None else frozenset()
    if mark not in names and (others := sorted(names - upload.GIVEN)):
        raise OptibenchError(
            f"{place.name[:1].upper()}{place.name[1:]} holds something that optibench did not publish ({others[0]}), "
            "which this would overwrite. Give another name with --to: a new repository is made."
        )
    return names


def _files_of(place: Place, there: There | None) -> set[str]:
    """The graph's files of the build that lies there, as its manifest says."""
    data = upload.read(place, there, package.MANIFEST) if there else None
    try:
        told = msgspec.json.decode(data, type=dict[str, Any]).get("files") if data else None
    except UNREADABLE:
        told = None
    return {str(name) for name in told} if isinstance(told, dict) else set()


def _ship(made: Upload, there: There | None) -> Shipped:
    """Sends it; ``there`` None is a dry run."""
    sizes = made.sizes
    if there is None:
        return Shipped(made.place, sizes, made.private, None)
    if not made.files and not made.remove:
        return Shipped(made.place, sizes, there.private, Sent(made.place.url, "", changed=False))
    private = made.private if there.files is None else there.private
    return Shipped(made.place, sizes, private, upload.send(made, there))
