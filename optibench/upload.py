"""Writing to the Hugging Face Hub: where to, what lies there, one commit, and what the Hub says in words.

The token is huggingface_hub's own affair (HF_TOKEN, or what ``hf auth login`` kept): it is looked at once, so that one
which no header can hold is not quoted in an error, and kept nowhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optibench import hub
from optibench.errors import OptibenchError, first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["model", "dataset", "space"]
Content = Path | bytes
SCHEMES: dict[str, Kind] = {"hub": "model", "hub-dataset": "dataset", "hub-space": "space"}
GIVEN = frozenset({".gitattributes", "README.md", "LICENSE"})
"""What the Hub's own page puts into a new repository."""


@dataclass(frozen=True)
class Place:
    """A repository of the Hub, and the branch (None: main) that is written to."""

    kind: Kind
    repo: str
    branch: str | None = None

    @property
    def name(self) -> str:
        """For people: the dataset user/results (branch next)."""
        return f"the {self.kind} {self.repo}" + (f" (branch {self.branch})" if self.branch else "")

    @property
    def url(self) -> str:
        """Its page."""
        return f"{hub.endpoint()}/{'' if self.kind == 'model' else f'{self.kind}s/'}{self.repo}"


@dataclass(frozen=True)
class There:
    """What lies at a place: its files (None: there is no such repository yet), and whether only its owner sees it."""

    files: frozenset[str] | None
    private: bool = True
    has_branch: bool = False


@dataclass(frozen=True)
class Upload:
    """One commit to be: files by their name there, names to remove, and what to say of it."""

    place: Place
    files: Mapping[str, Content]
    message: str
    remove: Sequence[str] = ()
    private: bool = True

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by name."""
        return {n: len(c) if isinstance(c, bytes) else c.stat().st_size for n, c in sorted(self.files.items())}


@dataclass(frozen=True)
class Sent:
    """A commit that the Hub took; ``changed`` is False where all of it was there already."""

    url: str
    commit: str
    changed: bool = True
    notes: Sequence[str] = field(default=())


def place_from_text(text: str, kinds: Sequence[Kind], branch: str | None = None) -> Place:
    """``hub:user/name`` and the like as a place. Error: another form, another kind, or no name that the Hub takes."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    scheme, _, repo = text.partition(":")
    forms = [f"{name}:user/name" for name, kind in SCHEMES.items() if kind in kinds]
    if SCHEMES.get(scheme) not in kinds:
        raise OptibenchError(f"--to {text!r} is no place for this: expected {' or '.join(forms)}.")
    if "@" in repo:
        raise OptibenchError(f"--to {text!r}: give the branch with --revision, not after an @.")
    try:
        validate_repo_id(repo)
        fine = repo.count("/") == 1
    except HFValidationError:
        fine = False
    if not fine:
        raise OptibenchError(
            f"--to {text!r} names no repository: expected {forms[0]}, of letters, digits, '-', '_' and '.'."
        )
    if branch is not None and (not branch or any(c.isspace() or c in "~^:?*[\\" for c in branch) or ".." in branch):
        raise OptibenchError(f"--revision {branch!r} is no name of a branch.")
    return Place(SCHEMES[scheme], repo, branch)


def _api() -> HfApi:
    from huggingface_hub import HfApi

    # With the token also where HF_HUB_DISABLE_IMPLICIT_TOKEN keeps it out of reading.
    return HfApi(token=True)


def look(place: Place) -> There:
    """What lies there. Errors: no token, no network, the Hub refuses."""
    from huggingface_hub import constants, errors, get_token

    if constants.HF_HUB_OFFLINE:
        raise OptibenchError(f"HF_HUB_OFFLINE is set, so nothing can be sent to {place.name}. Unset it.")
    token = get_token()
    if token is None or not (token.isascii() and token.isprintable()):
        what = "that may write" if token is None else "and the one that is set has characters that none has"
        raise OptibenchError(
            f"Writing to {place.name} needs a token of the Hub {what}: run hf auth login, or set HF_TOKEN. "
            "--dry-run needs none."
        )
    api = _api()
    try:
        found = api.repo_info(place.repo, repo_type=place.kind, timeout=hub.TIMEOUT_SECONDS)
        branch = place.branch
        if branch and branch not in {ref.name for ref in api.list_repo_refs(place.repo, repo_type=place.kind).branches}:
            branch = None
        if branch:
            found = api.repo_info(place.repo, repo_type=place.kind, revision=branch, timeout=hub.TIMEOUT_SECONDS)
    except errors.GatedRepoError as error:
        raise _said(place, error) from error
    except errors.RepositoryNotFoundError:
        return There(None)
    except Exception as error:  # httpx, huggingface_hub and the operating system each have their own
        raise _said(place, error) from error
    names = frozenset(sibling.rfilename for sibling in getattr(found, "siblings", None) or ())
    return There(names, bool(found.private), has_branch=bool(branch))


def read(place: Place, there: There, name: str) -> bytes | None:
    """A small file that lies there; None if there is none."""
    if name not in (there.files or ()):
        return None
    at = place.branch if there.has_branch else None
    try:
        # Never by the cache: its copy may be older than what somebody else wrote a moment ago, or it cannot be written.
        with tempfile.TemporaryDirectory() as folder:
            return Path(
                _api().hf_hub_download(place.repo, name, repo_type=place.kind, revision=at, local_dir=folder)
            ).read_bytes()
    except Exception as error:
        raise _said(place, error) from error


def check_visible(place: Place, there: There, private: bool) -> list[str]:
    """Notes on who will see it. Error: it is public, and the user did not ask for that."""
    if there.files is None or there.private == private:
        return []
    if private:
        raise OptibenchError(f"{place.repo} is public: everybody would see what you send. Give --public if they may.")
    return [f"{place.repo} was private before and stays so; its settings page can make it public."]


def send(upload: Upload, there: There) -> Sent:
    """Makes the repository and the branch where they are missing, and one commit: all of it lands, or nothing.

    Errors: no network; the Hub refuses (the token, the name, the card, too many requests, trouble of its own).
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    place, api = upload.place, _api()
    where: dict[str, Any] = {"repo_id": place.repo, "repo_type": place.kind}
    notes = check_visible(place, there, upload.private)
    try:
        operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
            *(CommitOperationAdd(n, c if isinstance(c, bytes) else str(c)) for n, c in sorted(upload.files.items())),
            *(CommitOperationDelete(name, is_folder=False) for name in sorted(upload.remove)),
        ]
        if there.files is None:
            api.create_repo(
                **where,
                private=upload.private,
                exist_ok=True,
                space_sdk="static" if place.kind == "space" else None,
            )
        if place.branch and place.branch != "main" and not there.has_branch:
            api.create_branch(**where, branch=place.branch, exist_ok=True)
        before = api.repo_info(place.repo, repo_type=place.kind, revision=place.branch).sha
        made = api.create_commit(**where, operations=operations, commit_message=upload.message, revision=place.branch)
    except Exception as error:
        raise _said(place, error) from error
    return Sent(made.commit_url, made.oid, changed=made.oid != before, notes=notes)


def _said(place: Place, error: Exception) -> OptibenchError:
    """What went wrong, in words and with what to do. No token stands in it: nothing of a request does, and where a
    server or a proxy says the request back, it is taken out."""
    from huggingface_hub import get_token

    said = _in_words(place, error)
    token = get_token()
    return type(said)(str(said).replace(token, "***")) if token else said


def _in_words(place: Place, error: Exception) -> OptibenchError:
    from huggingface_hub import errors

    status = hub.status_of(error)
    if isinstance(error, errors.RepositoryNotFoundError) and not isinstance(error, errors.GatedRepoError):
        return OptibenchError(
            f"The Hub has no {place.kind} {place.repo} that your token may write to: check the name, and whose token "
            "it is (hf auth whoami)."
        )
    if status in (401, 403) and not isinstance(error, errors.GatedRepoError):
        return OptibenchError(
            f"The Hub refused to write to {place.name} ({status}): the token is not valid, or may not write there. "
            "hf auth whoami tells whose it is; hf auth login takes another."
        )
    if status in (400, 409, 412):
        return OptibenchError(
            f"The Hub did not take what was sent to {place.name} ({status}): {first_line(error)}. If somebody else "
            "wrote there at the same time, run the command again."
        )
    if answer := hub.answered(place.repo, place.branch, error):
        return answer
    if isinstance(error, ValueError):  # what the client itself refuses, a card that the Hub finds fault with among it
        return OptibenchError(f"{place.name[:1].upper()}{place.name[1:]} cannot be written: {first_line(error)}.")
    return OptibenchError(
        f"{hub.endpoint()} cannot be reached, so nothing more was sent to {place.name}. Run the command again when the "
        "network is back: what is there already is not sent twice."
    )
