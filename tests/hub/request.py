"""One HTTP request at the Hub on loopback, and the answers that are errors."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from tests.hub.server import Hub

ERRORS = {"RepoNotFound": 404, "RevisionNotFound": 404, "EntryNotFound": 404, "GatedRepo": 403}


class Refused(Exception):
    """An answer that is an error: a status, or one of ERRORS by name, which the client knows by a header."""

    def __init__(self, why: int | str, message: str = "as the test asked", body: Any = None) -> None:
        super().__init__(message)
        self.why, self.message, self.body = why, message, body


class Request(BaseHTTPRequestHandler):
    """One connection; what it asks for is answered by its Hub."""

    protocol_version = "HTTP/1.1"
    hub: Hub
    data: bytes
    query: dict[str, list[str]]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.data)

    def form(self) -> dict[str, list[str]]:
        """The body as a form's fields."""
        return parse_qs(self.data.decode())

    def answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        """Sends an answer; of a HEAD just what stands above it."""
        self.send_response(status)
        for name, value in {"Content_Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def tell(self, value: Any, status: int = 200, **headers: str) -> None:
        """Sends an answer in JSON."""
        self.answer(json.dumps(value).encode(), status, Content_Type="application/json", **headers)

    def handle_any(self) -> None:
        """The way of every request."""
        # Read first: a client that still sends when the answer comes takes that for a lost connection.
        self.data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        try:
            self.hub.serve(self)
        except Refused as refused:
            status = refused.why if isinstance(refused.why, int) else ERRORS[refused.why]
            code = {"X_Error_Code": refused.why} if isinstance(refused.why, str) else {}
            self.tell(refused.body or {"error": refused.message}, status, X_Error_Message=refused.message, **code)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: pytest shows what matters."""
