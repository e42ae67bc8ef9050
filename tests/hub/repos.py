"""Repositories as the Hub keeps them, in memory: commits of whole files, branches, tags."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGE_BYTES = 100_000
"""From here on a file is stored beside git (the real Hub: 10 MB, and whatever .gitattributes names)."""

Files = dict[str, bytes]


@dataclass(frozen=True)
class Commit:
    """All files of a repository at one time; ``parent`` is "" for the first."""

    oid: str
    parent: str
    message: str
    files: Files


@dataclass
class Repo:
    """A repository of a ``kind`` (models, datasets, spaces); ``refs`` are its branches, ``tags`` names of commits."""

    id: str
    kind: str = "models"
    private: bool = False
    pipeline_tag: str | None = None
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], message: str = "a commit", branch: str = "main") -> Commit:
        """A new commit of just these files at the head of the branch."""
        parent = self.refs.get(branch, "")
        told = repr((self.id, parent, len(self.commits), sorted((n, git_oid(c)) for n, c in files.items())))
        made = Commit(hashlib.sha1(told.encode()).hexdigest(), parent, message, dict(files))
        self.commits[made.oid] = made
        self.refs[branch] = made.oid
        return made

    def at(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag or the beginning of a commit's name means."""
        oid = self.refs.get(revision) or self.tags.get(revision)
        if oid is None and len(revision) >= 7:
            oid = next((one for one in self.commits if one.startswith(revision)), None)
        return self.commits.get(oid) if oid else None

    def log(self, commit: Commit) -> list[Commit]:
        """The commit and those before it, newest first."""
        found = [commit]
        while found[-1].parent:
            found.append(self.commits[found[-1].parent])
        return found

    @property
    def head(self) -> Files:
        """The files of main."""
        return self.commits[self.refs["main"]].files

    @property
    def path(self) -> str:
        """Where it lies below the Hub's address."""
        return self.id if self.kind == "models" else f"{self.kind}/{self.id}"

    def info(self, commit: Commit) -> dict[str, Any]:
        """What the Hub tells of it at a commit."""
        return {
            "id": self.id,
            "sha": commit.oid,
            "private": self.private,
            "pipeline_tag": self.pipeline_tag,
            "sdk": self.sdk,
            "siblings": [{"rfilename": name} for name in commit.files],
        }


def git_oid(content: bytes) -> str:
    """The name that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(content: bytes) -> bool:
    """Whether it is stored beside git, and known by its sha256."""
    return len(content) > LARGE_BYTES


def content_id(content: bytes) -> str:
    """By which a client tells whether a file is what it has."""
    return hashlib.sha256(content).hexdigest() if is_large(content) else git_oid(content)


def entry(name: str, content: bytes) -> dict[str, Any]:
    """A file in a listing."""
    found: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git_oid(content)}
    if is_large(content):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found
