"""The artifact cache: content-addressed, locked, checksummed; an entry is written whole or not at all.

Layout below the root: ``entries/KEY/`` holds an entry's files and its manifest ``entry.json``; ``locks/KEY.lock``
lets two runs share a cache. KEY is the digest of the recipe: everything that decides the entry's content.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from optibench.errors import OptibenchError
from optibench.values import Value, digest_of

MANIFEST = "entry.json"
MAKING = ".making-"


class Entry(Value, frozen=True, kw_only=True):
    """One entry's manifest. ``files`` maps a relative name to its sha256; ``facts`` is what its maker wants kept."""

    key: str
    kind: str
    recipe: dict[str, Any]
    files: dict[str, str]
    bytes: int
    created: float
    facts: dict[str, Any] = {}

    @property
    def sha256(self) -> str:
        """Digest of the content: one file's own, or that of the sorted list of names and digests."""
        if len(self.files) == 1:
            return next(iter(self.files.values()))
        return digest_of(self.files)


class Damaged(OptibenchError):
    """An entry whose files are not what was written."""


def default_root() -> Path:
    """OPTIBENCH_CACHE, else the platform's cache folder for optibench."""
    if root := os.environ.get("OPTIBENCH_CACHE"):
        return Path(root).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("optibench"))


def sha256_of_file(path: Path) -> str:
    """The file's sha256 (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Cache:
    """A cache at a folder. ``say`` is told what a person should know (an entry rebuilt, a lock waited for)."""

    def __init__(self, root: Path, say: Callable[[str], None] = lambda text: None) -> None:
        self.root = root
        self.say = say

    def path(self, key: str) -> Path:
        """Where the entry's files lie."""
        return self.root / "entries" / key

    def get(self, recipe: dict[str, Any]) -> Entry | None:
        """The entry made by this recipe, its checksums verified; None if it is missing, or damaged (which is said)."""
        try:
            return self.verify(digest_of(recipe))
        except FileNotFoundError:
            return None
        except Damaged as error:
            self.say(f"{error} It is built again.")
            return None

    def holds(self, recipe: dict[str, Any]) -> bool:
        """Whether there is an entry of this recipe; its files are not checked."""
        return self.path(digest_of(recipe)).is_dir()

    def get_or_make(self, kind: str, recipe: dict[str, Any], make: Callable[[Path], dict[str, Any] | None]) -> Entry:
        """The entry of this recipe; if there is none ``make(folder)`` fills one, and returns facts worth keeping."""
        if entry := self.get(recipe):
            return entry
        key = digest_of(recipe)
        try:
            self.path(key).parent.mkdir(parents=True, exist_ok=True)
            lock = self._lock(key)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with lock:
                try:
                    return self.verify(key)  # another run made it while this one waited
                except (FileNotFoundError, Damaged):
                    _clear(self.path(key))
                return self._make(key, kind, recipe, make)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                raise
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> OptibenchError:
        return OptibenchError(
            f"The cache at {self.root} cannot be written: {error.strerror}. "
            "Free some space (optibench cache prune) or point OPTIBENCH_CACHE elsewhere."
        )

    def _make(
        self, key: str, kind: str, recipe: dict[str, Any], make: Callable[[Path], dict[str, Any] | None]
    ) -> Entry:
        folder = Path(tempfile.mkdtemp(prefix=f"{MAKING}{key}-", dir=self.path(key).parent))
        try:
            facts = make(folder) or {}
            names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            entry = Entry(
                key=key,
                kind=kind,
                recipe=recipe,
                files={name: sha256_of_file(folder / name) for name in names},
                bytes=sum((folder / name).stat().st_size for name in names),
                created=time.time(),
                facts=facts,
            )
            with (folder / MANIFEST).open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(entry)))
                file.flush()
                os.fsync(file.fileno())
            folder.chmod(0o755)
            folder.rename(self.path(key))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return entry

    def verify(self, key: str) -> Entry:
        """Reads an entry and checks every file. Raises FileNotFoundError (none), or Damaged (not whole)."""
        folder = self.path(key)
        if not folder.exists():
            raise FileNotFoundError(folder)
        try:
            entry = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Entry)
        except (OSError, msgspec.MsgspecError) as error:
            raise Damaged(f"The cache entry {key[:12]} has no readable manifest.") from error
        for name, sha256 in entry.files.items():
            file = folder / name
            if not file.is_file() or sha256_of_file(file) != sha256:
                raise Damaged(f"The cache entry {key[:12]} ({entry.kind}) is damaged: {name} is not what was written.")
        return entry

    def entries(self) -> Iterator[tuple[str, Entry | None]]:
        """Every key with its manifest (None if that cannot be read); files are not checked."""
        folder = self.root / "entries"
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.name.startswith("."):
                continue
            try:
                yield path.name, msgspec.json.decode((path / MANIFEST).read_bytes(), type=Entry)
            except (OSError, msgspec.MsgspecError):
                yield path.name, None

    def remove(self, key: str) -> None:
        """Removes one entry; another run that is making it is waited for. Error: the system does not let it go."""
        with self._lock(key):
            _clear(self.path(key))
            if self.path(key).exists():
                raise OptibenchError(f"{self.path(key)} cannot be removed: see whose it is, and what its rights are.")

    def leftovers(self) -> list[Path]:
        """Half-made folders of runs that were killed; not those that a living run is making, which holds their lock."""
        import filelock

        found = []
        for folder in sorted((self.root / "entries").glob(f"{MAKING}*")):
            key = folder.name.removeprefix(MAKING).partition("-")[0]
            try:
                with filelock.FileLock(self.root / "locks" / f"{key}.lock", timeout=0):
                    found.append(folder)
            except filelock.Timeout:
                continue
        return found

    def clear_leftovers(self) -> None:
        """Removes what killed runs left half made, as far as that is allowed."""
        with suppress(OSError):
            for folder in self.leftovers():
                shutil.rmtree(folder, ignore_errors=True)

    def _lock(self, key: str) -> Any:
        import filelock

        (self.root / "locks").mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.root / "locks" / f"{key}.lock")
        try:
            lock.acquire(timeout=0.2)
            lock.release()
        except filelock.Timeout:
            self.say("Another run is building the same artifact; waiting for it.")
        return lock


def _clear(path: Path) -> None:
    """Takes away what stands there, whatever it is."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
