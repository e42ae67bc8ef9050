"""Folders that are written whole or not at all: made beside their place, then put there by a rename."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optibench.errors import OptibenchError


def check_free(path: Path, mark: str, what: str) -> None:
    """Error: at ``path`` lies something that is not ours to replace (ours has the file ``mark`` in it), or nothing can
    be written there, told before the work that fills it."""
    if path.exists() and not path.is_dir():
        raise OptibenchError(f"{path} is a file; {what} needs a folder. Give another one with --out.")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise OptibenchError(f"{path} holds something that is not {what}. Give a new folder with --out.")
    if path.is_mount():
        raise OptibenchError(
            f"{path} is where another file system is mounted, and {what} takes the place of the whole folder. "
            "Give a folder inside of it with --out."
        )
    if (path / ".git").exists():  # the folder is replaced as a whole, and a repository's history with it
        raise OptibenchError(
            f"{path} is a repository of git, which would be lost: {what} takes the place of the whole folder. "
            "Give a folder inside of it with --out."
        )
    above = next(p for p in path.resolve().parents if p.exists())
    try:
        tempfile.TemporaryFile(dir=above).close()  # asked by doing it: root is told that it may write anywhere
    except OSError as error:
        raise OptibenchError(
            f"{path} cannot be written ({above}: {error.strerror or error}). Give another folder with --out."
        ) from error


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of ``path`` when all went well. Else ``path`` stays as it was.

    Error: the system refuses to write there.
    """
    path = path.resolve()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        new.mkdir(parents=True)
        yield new
        had = path.exists()
        if had:
            path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            if had:
                old.rename(path)
            raise
    except OSError as error:
        raise OptibenchError(
            f"{path} cannot be written: {error.strerror or error}. What was there before is kept."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)


def put(path: Path, data: bytes) -> None:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
