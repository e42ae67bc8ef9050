"""The read half of the Hub's API on loopback: just what huggingface_hub's own client asks for.

Repositories are dicts of file name to content; ``Hub.fail`` makes a repository answer with an error. A real server and
the real client: what is tested is how optibench gets on with both.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
OLDER = "0123456789abcdef0123456789abcdef01234567"
"""The commit of a repository's ``older`` files, which its tag v0 names."""
ERRORS = {
    "RepoNotFound": 404,
    "RevisionNotFound": 404,
    "EntryNotFound": 404,
    "GatedRepo": 403,
}


class Hub:
    """A Hub at ``url``; a context manager. ``asked`` lists every path that was requested."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.older: dict[str, dict[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.fail: dict[str, int | str] = {}
        self.asked: list[tuple[str, str | None]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet: pytest shows what matters."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        path = unquote(urlsplit(request.path).path)
        self.asked.append((path, request.headers.get("Authorization")))
        api = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/revision/([^/]+))?(/tree/[^/]+.*)?", path)
        file = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = api or file
        repo = found[2] if found else ""
        if repo in self.fail:
            return self.refuse(request, self.fail[repo])
        if repo not in self.repos:
            return self.refuse(request, "RepoNotFound")
        revision = (api[3] if api else file[3] if file else None) or "main"
        commit, files = COMMIT, self.repos[repo]
        if revision in ("v0", OLDER) and repo in self.older:
            commit, files = OLDER, self.older[repo]
        elif revision not in ("main", "v1", COMMIT):
            return self.refuse(request, "RevisionNotFound")
        if api and api[4]:
            entries = [self.entry(name, content) for name, content in files.items()]
            return self.send(request, json.dumps(entries).encode(), body, commit)
        if api:
            return self.send(request, json.dumps(self.info(repo, commit, files)).encode(), body, commit)
        assert file is not None
        content = files.get(file[4])
        if content is None:
            return self.refuse(request, "EntryNotFound")
        return self.send(request, content, body, commit, etag=hashlib.sha256(content).hexdigest())

    def info(self, repo: str, commit: str, files: dict[str, bytes]) -> dict[str, Any]:
        siblings = [{"rfilename": name} for name in files]
        return {"id": repo, "sha": commit, "siblings": siblings, "pipeline_tag": self.tags.get(repo), "private": False}

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def refuse(self, request: BaseHTTPRequestHandler, why: int | str) -> None:
        status = why if isinstance(why, int) else ERRORS[why]
        request.send_response(status)
        if isinstance(why, str):
            request.send_header("X-Error-Code", why)
        request.send_header("X-Error-Message", "as the test asked")
        request.send_header("Content-Length", "0")
        request.end_headers()

    def send(
        self, request: BaseHTTPRequestHandler, content: bytes, body: bool, commit: str, etag: str | None = None
    ) -> None:
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
        if wanted:
            start = int(wanted[1])
            end = int(wanted[2]) + 1 if wanted[2] else len(content)
            part = content[start:end]
        else:
            part = content
        request.send_response(206 if wanted else 200)
        request.send_header("X-Repo-Commit", commit)
        if etag:
            request.send_header("ETag", f'"{etag}"')
        if wanted:
            request.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Length", str(len(part)))
        request.end_headers()
        if body:
            request.wfile.write(part)
