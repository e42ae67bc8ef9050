"""Progress on standard error: one line that is rewritten on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import shutil
import sys
import time
from typing import TextIO

PLAIN_INTERVAL_SECONDS = 15.0
"""Into a file or a CI log, blocks of a round, waiting and pip's lines are told this often; stages always."""


def duration(seconds: float) -> str:
    """A time as a person says it: 40 s, 3 min, 1.5 h. Whole steps, since more would promise too much."""
    if seconds < 90:
        return f"{max(5, round(seconds / 5) * 5)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Progress:
    """Tells what goes on. Called between steps: it has no thread, so it costs nothing while a case is measured."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr or io.StringIO()  # None where it was closed
        self.quiet = quiet
        self.live = self.stream.isatty()
        self.start = self.last = time.monotonic()
        self.shown = False

    def say(self, text: str) -> None:
        """Shows one step. Control characters of foreign text are not sent to the terminal."""
        if self.quiet:
            return
        now = time.monotonic()
        line = f"[{now - self.start:4.0f} s] " + "".join(c if c.isprintable() else " " for c in text)
        often = " block " in text or text.startswith(("waiting", "preparing the environment: "))
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            passing = often or text.startswith(("round ", "building ", "preparing "))
            self.stream.write("\r\x1b[K" + (line[:width] if passing else line + "\n"))
            self.shown = passing
        elif not often or now - self.last > PLAIN_INTERVAL_SECONDS:
            self.stream.write(line + "\n")
            self.last = now
        self.stream.flush()

    def done(self) -> None:
        """Takes the passing line away, before the result or an error is printed."""
        if self.shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.shown = False
