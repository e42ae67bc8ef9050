"""What turns.py needs of whatever runs a worker: launch, ask, close."""

from __future__ import annotations

from typing import Any, Protocol

from optibench.errors import OptibenchError
from optibench.values import Job


class LaneDied(OptibenchError):
    """The worker is gone: it crashed, was killed, or did not answer in time. The message says which."""


class Lane(Protocol):
    """One living worker."""

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        """Sends a request and waits, asleep, for the reply. Raises LaneDied."""
        ...

    def close(self) -> None:
        """Ends the worker, at once."""
        ...


class Launch(Protocol):
    """Starts a worker for a job, in the environment that the job's target asks for."""

    def __call__(self, job: Job) -> Lane: ...
