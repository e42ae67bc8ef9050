"""The smallest Hub on loopback that huggingface_hub's own client can read from and write to.

A real server and the real client: what is tested is how optibench gets on with both. No packaged server takes writes.
``Hub.fail`` makes paths answer with an error, ``Hub.cut`` breaks a download off. Large files come by the LFS protocol,
whole or in parts (large_files.py); the Hub's newer one for them, Xet, is turned off in tests (HF_HUB_DISABLE_XET).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import large_files, routes
from tests.hub.repos import Commit, Repo
from tests.hub.request import Refused, Request


class Hub:
    """A Hub at ``url``; a context manager.

    ``asked``: every path that was requested, with the Authorization that came with it; ``ranges``: the parts of files.
    ``fail``: a part of a path to the error that it answers. ``cut``: the end of a file's path to the bytes after which
    its next download breaks off. ``token``: the only one that is valid ("": none is needed).
    """

    def __init__(self, token: str = "") -> None:
        self.token = token
        self.repos: dict[tuple[str, str], Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.fail: dict[str, int | str] = {}
        self.cut: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ranges: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisHub", (Request,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def put(self, repo: str, files: Mapping[str, bytes], kind: str = "models", **settings: Any) -> str:
        """A commit of just these files on main, in a repository that is made if it is not there. The commit's name."""
        found = self.repos.setdefault((kind, repo), Repo(repo, kind, **settings))
        return found.commit(files).oid

    def repo(self, repo: str, kind: str = "models") -> Repo:
        """A repository that is there."""
        return self.repos[kind, repo]

    def serve(self, request: Request) -> None:
        """Answers one request, or raises Refused."""
        parts = urlsplit(request.path)
        path, authorization = unquote(parts.path), request.headers.get("Authorization")
        request.query = parse_qs(parts.query)
        self.asked.append((path, authorization))
        for part, why in self.fail.items():
            if part in path:
                raise Refused(why)
        if self.token and authorization not in (None, f"Bearer {self.token}"):
            raise Refused(401, "Invalid credentials in Authorization header")
        for method, pattern, serve in (*routes.ROUTES, *large_files.ROUTES):
            found = re.fullmatch(pattern, parts.path)
            if found and request.command in method.split("|"):
                writes = request.command not in ("GET", "HEAD") and "/lfs/" not in path and "paths-info" not in path
                if self.token and authorization is None and writes:
                    raise Refused(401, "Access requires a token")
                asked = {name: unquote(value) if value else value for name, value in found.groupdict().items()}
                # Downloads go side by side, as a client asks for them; what changes something goes one by one.
                with self.lock if writes else nullcontext():
                    return serve(self, request, **asked)
        raise Refused(404, f"no {request.command} {path}")

    def found(self, request: Request, kind: str | None, repo: str) -> Repo:
        """The repository that is asked for, if whoever asks may see it."""
        found = self.repos.get((kind or "models", repo))
        if found is None or (found.private and self.token and not request.headers.get("Authorization")):
            raise Refused("RepoNotFound", "Repository not found")
        return found

    def found_at(self, request: Request, kind: str | None, repo: str, revision: str | None) -> tuple[Repo, Commit]:
        """The same, at a revision."""
        found = self.found(request, kind, repo)
        commit = found.at(revision or "main")
        if commit is None:
            raise Refused("RevisionNotFound", f"Invalid rev id: {revision}")
        return found, commit
