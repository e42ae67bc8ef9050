"""A run's folder: records as they are made, then everything that is computed from them. All strict JSON, all whole.

records.jsonl  plan.json  comparison.json  table.csv  records.parquet  report.md  report.html  logs/
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from optibench.errors import OptibenchError
from optibench.parquet import parquet_from_records
from optibench.results import COMPARISON_SCHEMA, Comparison
from optibench.strict_json import UNREADABLE, sealed_from_json, sealed_json, strict_json, value_from_json
from optibench.values import RECORD_SCHEMA, Record, Value

RUNS = "optibench-runs"
RECORDS = "records.jsonl"
PLAN = "plan.json"
COMPARISON = "comparison.json"
PARQUET = "records.parquet"
CONSTRAINTS = "constraints.txt"
"""The packages of a run that is replayed (replay_run.py)."""
PAGE = "report.html"
FILES = (RECORDS, PLAN, COMPARISON, PARQUET, "table.csv", "report.md", PAGE)
"""What a run writes: a folder that holds one of these is not free for another run."""

SPECIAL = (("/", "dev"), ("/", "proc"))
"""Folders whose links lead to what is open already (/dev/shm holds files like any)."""
NEWLINE = b"\n"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Run:
    """A run's folder at ``path``; ``create`` makes one, ``open_run`` finds one."""

    path: Path
    made: tuple[Path, ...] = ()
    """Folders that ``create`` made for it, the innermost first."""

    @property
    def logs(self) -> Path:
        """Where workers' logs lie."""
        return self.path / "logs"

    def discard_if_empty(self) -> None:
        """Takes away again what ``create`` made if nothing was recorded: a mistyped command leaves no trace. What the
        user had there before stays."""
        if (self.path / RECORDS).exists():
            return
        for name in (PLAN, CONSTRAINTS):
            (self.path / name).unlink(missing_ok=True)
        if self.logs in self.made:
            shutil.rmtree(self.logs, ignore_errors=True)
        with suppress(OSError):  # something else came to lie there
            for folder in self.made:
                if folder != self.logs:
                    folder.rmdir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts no other process measures into the folder: two would each write half of a run.

        Error: another one does already. A system or a file system without such locks lets all pass.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY)  # the folder itself: its files are replaced as they are written
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OptibenchError(
                    f"Another optibench is measuring into {self.path} at this moment. Wait until it is done, or give "
                    "another folder."
                ) from error
            except OSError:  # a network's file system without locks
                pass
            yield
        finally:
            os.close(descriptor)

    def append(self, record: Record) -> None:
        """Adds one record as one line, on the disk when this returns, whole or not at all.

        Errors: a number that is not finite; a full, failing or unwritable disk (the records before are kept).
        """
        line = sealed_json(record) + b"\n"
        try:
            with (self.path / RECORDS).open("a+b", buffering=0) as file:
                _append_whole(file.fileno(), line)
        except OSError as error:
            raise self._write_error(RECORDS, error) from error

    def records(self) -> tuple[list[Record], list[str]]:
        """Every record so far, and warnings: a last line that was cut off by a crash is left out and said.

        Errors: a broken line before the end, one that was edited, or one of another schema, by its number.
        """
        file = self.path / RECORDS
        try:
            data = file.read_bytes() if file.exists() else b""
        except OSError as error:
            raise OptibenchError(f"{file} cannot be read: {error.strerror or error}.") from error
        return records_from_bytes(data, str(file))

    def write_plan(self, plan: Any) -> None:
        """Keeps what ``--resume`` needs to know: any value that strict JSON can hold."""
        self.write(PLAN, strict_json(plan))

    def plan(self) -> Any:
        """The plan as plain JSON values. Errors: there is none, or it cannot be read."""
        file = self.path / PLAN
        try:
            return msgspec.json.decode(file.read_bytes())
        except FileNotFoundError as error:
            raise OptibenchError(
                f"{self.path} has no {PLAN}, so this run cannot be resumed. Start it anew in another folder."
            ) from error
        except (OSError, *UNREADABLE) as error:
            raise OptibenchError(f"{file} cannot be read: {error}. Start the run anew in another folder.") from error

    def write_comparison(self, comparison: Comparison, texts: Mapping[str, str]) -> None:
        """Writes comparison.json, each of ``texts`` (file name to content: table.csv, report.md, ...) and, from the
        records here, records.parquet. Each replaces its predecessor in one step."""
        self.write(COMPARISON, json_text(comparison).encode())
        for name, text in texts.items():
            self.write(name, text.encode())
        self.write(PARQUET, parquet_from_records(self.records()[0]))

    def write(self, name: str, data: bytes) -> None:
        """Writes one file of the run, whole. Errors: a full, failing or unwritable disk."""
        try:
            write_whole(self.path / name, data)
        except OSError as error:
            raise self._write_error(name, error) from error

    def _write_error(self, name: str, error: OSError) -> OptibenchError:
        go_on = f"--resume {shlex.quote(str(self.path))}"
        if error.errno in FULL:
            return OptibenchError(
                f"The disk is full: {name} could not be written to {self.path}. "
                f"The records so far are kept. Free some space and go on with {go_on}"
            )
        return OptibenchError(
            f"{name} could not be written to {self.path}: {error.strerror or error}. "
            f"The records so far are kept. Mend this and go on with {go_on}"
        )


def create(out: Path | None, model_id: str) -> Run:
    """A new run's folder: ``out``, or ./optibench-runs/TIME-MODEL/ where that is None.

    Errors: the folder holds a run already, a file is in the way, or it cannot be written.
    """
    path = out.expanduser() if out else _default_path(model_id)
    made = tuple(p for p in (path / "logs", path, *path.parents) if not p.exists())
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any((path / name).exists() for name in FILES):
            raise OptibenchError(
                f"{path} already holds a run. Go on with it by --resume {shlex.quote(str(path))}, "
                "or give another folder with --out."
            )
        (path / "logs").mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()  # now, not after minutes of building
    except (FileExistsError, NotADirectoryError) as error:
        file = next((p for p in (path / "logs", path, *path.parents) if p.is_file()), error.filename)
        raise OptibenchError(
            f"{path} cannot be a run's folder: {file} is a file. Give another folder with --out."
        ) from error
    except OSError as error:
        raise OptibenchError(
            f"The run's folder {path} cannot be written: {error.strerror or error}. Give another folder with --out."
        ) from error
    return Run(path, made)


def create_beside(path: Path, suffix: str) -> Run:
    """A new run's folder beside another: PATH-SUFFIX, or the first of PATH-SUFFIX-2, ... that is free."""
    base = path.resolve()
    number, free = 1, base.with_name(f"{base.name}-{suffix}")
    while free.exists():
        number += 1
        free = base.with_name(f"{base.name}-{suffix}-{number}")
    return create(free, "")


def open_run(path: Path) -> Run:
    """The run that was begun in this folder. Error: there is none."""
    path = path.expanduser()
    if any((path / name).is_file() for name in (RECORDS, PLAN)):
        return Run(path)
    what = "has no run in it" if path.is_dir() else "is not a folder" if path.exists() else "does not exist"
    raise OptibenchError(
        f"{path} {what}: expected a run's folder, with {PLAN} and {RECORDS}. By default runs lie in ./optibench-runs/."
    )


def load(path: Path) -> Comparison:
    """The comparison of a run's folder, or of a comparison.json. Errors: missing, broken, or of another schema."""
    path = path.expanduser()
    file = path / COMPARISON if path.is_dir() else path
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        unfinished = path.is_dir() and (path / RECORDS).exists()
        hint = (
            f"The run is not finished: go on with --resume {shlex.quote(str(path))}"
            if unfinished
            else f"Give a run's folder or its {COMPARISON}."
        )
        raise OptibenchError(f"There is no {file}. {hint}") from error
    except OSError as error:
        raise OptibenchError(f"{file} cannot be read: {error.strerror or error}.") from error
    return value_from_json(data, Comparison, COMPARISON_SCHEMA, str(file))


def records_from_bytes(data: bytes, where: str) -> tuple[list[Record], list[str]]:
    """The records of a records.jsonl, and warnings; ``where`` names it in both. Errors as ``Run.records``."""
    warnings = []
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        warnings.append(
            f"The last line of {where} (line {data.count(NEWLINE) + 1}) was cut off while it was written; "
            "it is left out, and its job counts as not done."
        )
    mend = "Restore it, or remove the line."
    found = [
        sealed_from_json(line, Record, RECORD_SCHEMA, f"Line {number} of {where}", mend)
        for number, line in _numbered_lines(data, whole)
    ]
    if unsealed := sum(not record.sha256 for record in found):
        warnings.append(
            f"{unsealed} of the records in {where} carry no sha256: a number edited by hand would not show."
        )
    return [msgspec.structs.replace(record, sha256="") for record in found], warnings


def _numbered_lines(data: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """The lines up to ``end`` that hold something. One after the other: a packed file of some kB can hold so many
    empty ones that a list of them would fill the memory."""
    number, counted = 1, 0
    for line in re.compile(rb"\S[^\n]*").finditer(data, 0, end):
        number += data.count(NEWLINE, counted, line.start())
        counted = line.start()
        yield number, line.group()


def json_text(value: Value) -> str:
    """A value (a comparison, a history, a gate's result) as strict JSON, indented for people."""
    return msgspec.json.format(strict_json(value), indent=2).decode() + "\n"


def write_whole(path: Path, data: bytes) -> None:
    """Replaces ``path`` by ``data`` in one step: a reader, or a crash, meets the old content or all of the new.
    A link stays one; a device or a pipe (/dev/stdout) is written to, where a rename would put a file in its place."""
    opened = path.is_symlink() and path.parts[:2] in SPECIAL
    if opened or (path.exists() and not path.is_file() and not path.is_dir()):
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _append_whole(descriptor: int, line: bytes) -> None:
    """Writes the line after the last whole one; if that fails, nothing of it stays."""
    end = os.fstat(descriptor).st_size
    whole = _whole_length(descriptor, end)
    if whole < end:  # a crash cut the last line off: a line appended to it would break both
        os.ftruncate(descriptor, whole)
    try:
        written = os.write(descriptor, line)
        while written < len(line):  # a full disk takes a part first, and says so at the next write
            written += os.write(descriptor, line[written:])
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, whole)
        raise


def _whole_length(descriptor: int, end: int) -> int:
    """Length of the file up to its last newline, searched from the end."""
    step = 1 << 16
    for start in range(max(end - step, 0), -step, -step):
        found = os.pread(descriptor, step, max(start, 0)).rfind(b"\n")
        if found >= 0:
            return max(start, 0) + found + 1
    return 0


def _default_path(model_id: str) -> Path:
    """A name that no run has yet, the time first so that a listing is in order."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model_id)[-60:].strip("-.") or "model"
    base = Path(RUNS) / f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{name}"
    path, number = base, 1
    while path.exists():  # two runs of one model in one second
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
