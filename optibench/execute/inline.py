"""A worker inside this process, for tests of everything above it (on the fake backend, in milliseconds)."""

from __future__ import annotations

from typing import Any

import msgspec

from optibench.values import Job
from optibench.worker import Request, Worker


class InlineLane:
    """Answers through the same JSON as a process would, so that what cannot be sent fails here too."""

    def __init__(self) -> None:
        self.worker = Worker()

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        decoded = msgspec.json.decode(msgspec.json.encode(request), type=Request)
        reply: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self.worker.answer(decoded)))
        return reply

    def close(self) -> None:
        self.worker.close()


def launch(job: Job) -> InlineLane:
    """A worker for the job, here."""
    return InlineLane()
