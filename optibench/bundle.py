"""A run as one file to send or keep: a zip of its records, plan, comparison and logs, with a manifest of digests.

The same run gives the same bytes. A bundle is read into memory and believed only as far as it can be checked: known
names, sizes within limits, every digest right. Digests find damage and edits; they do not say who made a bundle.
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from optibench import store
from optibench.errors import OptibenchError, first_line
from optibench.strict_json import strict_json, value_from_json
from optibench.values import Value

SUFFIX = ".optibench.zip"
MANIFEST = "manifest.json"
MANIFEST_SCHEMA = 1
KEPT = (store.RECORDS, store.PLAN, store.COMPARISON)
"""What else a run's folder holds is computed from these."""
LOG = re.compile(r"logs/[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.log")
MOST_LOG_BYTES = 256_000
"""A longer log is left out, and named."""
MOST_LOGS = 500
MOST_BYTES = 512 << 20
"""Of all files together, unpacked."""
EPOCH = (1980, 1, 1, 0, 0, 0)


class Member(Value, frozen=True, kw_only=True):
    """One file of a bundle."""

    sha256: str
    bytes: int


class Manifest(Value, frozen=True, kw_only=True):
    """What a bundle holds; ``left_out`` are logs that were too long for it."""

    schema: int = MANIFEST_SCHEMA
    run: str
    files: dict[str, Member]
    left_out: tuple[str, ...] = ()


def write(run: Path, out: Path | None = None) -> tuple[Path, Manifest]:
    """Bundles a run's folder to ``out``, by default NAME.optibench.zip here.

    Errors: no run there, broken records, nothing recorded yet, a file in the way.
    """
    folder = store.open_run(run)
    if not folder.records()[0]:
        raise OptibenchError(f"{run} has no records yet: there is nothing to bundle.")
    name = folder.path.resolve().name
    out = out.expanduser() if out else Path(f"{name}{SUFFIX}")
    if out.exists():
        raise OptibenchError(f"{out} exists already. Give another file with --out, or remove it.")
    files, left_out = _files(folder.path)
    manifest, data = packed(name, files, tuple(left_out))
    try:
        store.write_whole(out, data)
    except OSError as error:
        raise OptibenchError(
            f"{out} cannot be written: {error.strerror or error}. Give another file with --out."
        ) from error
    return out, manifest


def packed(run: str, files: Mapping[str, bytes], left_out: tuple[str, ...] = ()) -> tuple[Manifest, bytes]:
    """A bundle's manifest and bytes, of the files of the run that is called ``run``."""
    manifest = Manifest(
        run=run,
        files={name: Member(sha256=_sha256(data), bytes=len(data)) for name, data in files.items()},
        left_out=left_out,
    )
    return manifest, _zipped({MANIFEST: msgspec.json.format(strict_json(manifest)), **files})


def _files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The folder's files that belong in a bundle, by name, and the logs that are too long for it."""
    files = {name: (folder / name).read_bytes() for name in KEPT if (folder / name).is_file()}
    left_out = []
    for log in sorted((folder / "logs").glob("*.log")):
        name = f"logs/{log.name}"
        if not LOG.fullmatch(name) or log.is_symlink() or log.stat().st_size > MOST_LOG_BYTES:
            left_out.append(name)
        elif log.stat().st_size:
            files[name] = log.read_bytes()
    return files, left_out


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip that depends on nothing but names and contents: no times, owners or modes of the machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            packed.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def read(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """A bundle's manifest and files, checked. Errors: it is none, is cut off, was changed, or holds what none holds."""
    try:
        with zipfile.ZipFile(path) as packed:
            files = _unpacked(packed, path)
    except OptibenchError:
        raise
    except OSError as error:
        raise OptibenchError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile and zlib have a kind for every way in which a file can be damaged
        raise OptibenchError(
            f"{path} is no whole bundle ({first_line(error)}): it was cut off or damaged. Get it again, "
            "or make it anew: optibench bundle-run RUN"
        ) from error
    if MANIFEST not in files:
        raise OptibenchError(f"{path} is a zip without {MANIFEST}, so it is no bundle: expected a run's bundle.")
    manifest = value_from_json(files.pop(MANIFEST), Manifest, MANIFEST_SCHEMA, f"{MANIFEST} of {path}")
    for name in sorted(files.keys() | manifest.files.keys()):
        _check(path, name, files.get(name), manifest.files.get(name))
    if store.RECORDS not in files:
        raise OptibenchError(f"{path} holds no {store.RECORDS}, so it is no bundle of a run.")
    return manifest, files


def _unpacked(packed: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    room = MOST_BYTES
    for entry in packed.infolist():
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        if name not in (MANIFEST, *KEPT) and not LOG.fullmatch(name):
            raise OptibenchError(f"{path} is refused: it holds {name!r}, which no bundle of a run holds.")
        if kind not in (0, stat.S_IFREG) or name in files or len(files) > MOST_LOGS:
            what = "twice" if name in files else "as a link or device" if kind else "among too many files"
            raise OptibenchError(f"{path} is refused: it holds {name!r} {what}.")
        with packed.open(entry) as member:
            data = member.read(room + 1)  # what comes out counts, not what the header promises
        room -= len(data)
        if room < 0:
            raise OptibenchError(f"{path} is refused: unpacked it has more than {MOST_BYTES >> 20} MiB.")
        files[name] = data
    return files


def _check(path: Path, name: str, data: bytes | None, member: Member | None) -> None:
    if member is None:
        raise OptibenchError(f"{path} was changed after it was bundled: its manifest does not name {name}.")
    if data is None:
        raise OptibenchError(f"{path} was changed after it was bundled: {name} is missing.")
    if len(data) != member.bytes or _sha256(data) != member.sha256:
        raise OptibenchError(
            f"{path} was changed after it was bundled: {name} has another digest than its manifest says. "
            "Get the bundle again from where it was made."
        )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
