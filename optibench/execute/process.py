"""A worker in a process of its own, on this machine: the default."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from optibench.execute.base import LaneDied

KILL_SECONDS = 5.0
"""A process inside a driver that hangs does not end even if it is killed: after so long it is left behind."""


class ProcessLane:
    """``python -m MODULE`` with a pair of pipes of its own; what it prints goes to ``log``. ``python`` is this
    interpreter, or that of another environment.

    It is the leader of its own process group: Ctrl-C in the terminal reaches the parent alone, which ends it.
    """

    def __init__(self, module: str, env: Mapping[str, str], log: Path, python: str = sys.executable) -> None:
        self.log = log
        request_read, self.request = os.pipe()
        self.reply, reply_write = os.pipe()
        # -P: a file of the folder that the user stands in (onnx.py, types.py) must not take a library's place. Not
        # -I: PYTHONPATH may be how optibench itself is found.
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [python, "-P", "-m", module, str(request_read), str(reply_write)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **env},
                pass_fds=(request_read, reply_write),
                start_new_session=True,
            )
        os.close(request_read)
        os.close(reply_write)
        self.buffer = b""
        self.closing = threading.Lock()

    def ask(self, request: Any, timeout_seconds: float) -> dict[str, Any]:
        """Sends a request and sleeps until the reply, the worker's end, or the limit."""
        line = msgspec.json.encode(request) + b"\n"
        try:
            while line:  # a pipe takes 64 KiB at a time
                line = line[os.write(self.request, line) :]
        except BrokenPipeError:
            raise self._died() from None
        return self.listen(timeout_seconds)

    def listen(self, timeout_seconds: float) -> dict[str, Any]:
        """Sleeps until the next line from the worker, its end, or the limit."""
        deadline = time.monotonic() + timeout_seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.reply, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.close()
                    raise LaneDied(f"it did not answer within {timeout_seconds:.0f} s, and was stopped{self._tail()}")
                # A pipe that another thread closes (on Ctrl-C) wakes nobody: so look up now and then.
                if not selector.select(min(left, 1.0)) and self.reply >= 0:
                    continue
                try:
                    data = os.read(self.reply, 1 << 20)
                except OSError:  # closed by another thread, on Ctrl-C
                    data = b""
                if not data:
                    raise self._died()
                self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        reply: dict[str, Any] = msgspec.json.decode(line)
        return reply

    def _died(self) -> LaneDied:
        """Why the process ended, in words."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.close()
            return LaneDied("it closed its pipe and went on running, and was stopped")
        if code == -signal.SIGKILL:
            what = "it was killed (signal 9): most likely the system ran out of memory"
        elif code < 0:
            what = f"it crashed ({signal.Signals(-code).name})"
        else:
            what = f"it ended with exit code {code}"
        return LaneDied(what + self._tail())

    def _tail(self) -> str:
        """The last line of the log, which most often says why."""
        try:
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return f". Last words: {lines[-1][-200:]}" if lines else ""

    def close(self) -> None:
        """Ends the process and everything that it started. A thread that waits in ``ask`` then sees it die. One that is
        stuck within a driver ends when that lets it go, which is not waited for."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=KILL_SECONDS)
        # On Ctrl-C the thread that waited closes too, and a number that is closed twice may be another file's by then.
        with self.closing:
            ends, self.request, self.reply = (self.request, self.reply), -1, -1
        for fd in ends:
            if fd >= 0:
                os.close(fd)
