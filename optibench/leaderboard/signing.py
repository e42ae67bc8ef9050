"""Who made a submission: detached signatures of minisign, beside the file as FILE.minisig (extra ``signing``).

minisign works without a network and without an account, and its own program and this module read each other's files.
A board lists the keys that it trusts in a folder; a signature by one of them makes a submission verified.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optibench import store
from optibench.errors import OptibenchError, first_line

SUFFIX = ".minisig"
PUBLIC = "*.pub"
MOST_BYTES = 64_000
"""Of a key or a signature; a real one has some hundred."""


def _minisign() -> Any:
    try:
        import minisign
    except ImportError as error:
        raise OptibenchError(
            "Signatures need the package py-minisign, which is not installed: pip install 'optibench[signing]'"
        ) from error
    return minisign


def signature_path(path: Path) -> Path:
    """Where a file's signature lies."""
    return path.with_name(path.name + SUFFIX)


def sign(path: Path, key: Path, password: str | None) -> Path:
    """Writes the file's signature by the secret key in the file ``key``, and gives its place.

    Errors: the package is missing, the key cannot be read, the password is wrong or missing.
    """
    minisign = _minisign()
    with _understood(key, "is no secret key of minisign, or its password is another"):
        secret = minisign.SecretKey.from_bytes(_read(key))
        if secret.is_encrypted():
            secret.decrypt(password or "")
        signature = secret.sign(path.read_bytes(), trusted_comment=f"file:{path.name}")
    out = signature_path(path)
    store.write_whole(out, bytes(signature))
    return out


class Keys:
    """The public keys that a board trusts, each under the name of its file without ``.pub``."""

    def __init__(self, folder: Path | None) -> None:
        self.known: dict[str, Any] = {}
        if folder is None:
            return
        if not folder.is_dir():
            raise OptibenchError(f"{folder} is no folder: expected one of public keys, such as {folder}/ann.pub")
        for file in sorted(folder.glob(PUBLIC)):
            with _understood(file, "is no public key of minisign"):
                self.known[file.stem] = _minisign().PublicKey.from_bytes(_read(file))

    def signer(self, path: Path) -> str | None:
        """Whose key signed the file; None where no signature lies beside it or nobody here knows its key.

        Error: the signature is damaged, or is not of this file: it or the file was changed.
        """
        beside = signature_path(path)
        if not beside.is_file() or not self.known:
            return None
        minisign = _minisign()
        with _understood(beside, "is no signature of minisign"):
            signature = minisign.Signature.from_bytes(_read(beside))
            number = _number(bytes(signature))
        name = next((name for name, key in self.known.items() if _number(bytes(key)) == number), None)
        if name is None:
            return None
        try:
            self.known[name].verify(path.read_bytes(), signature)
        except minisign.VerifyError as error:
            raise OptibenchError(
                f"{beside.name} is not the signature of {path.name} by {name}: one of them was changed after it was "
                "signed, or somebody else made it."
            ) from error
        return name


def _number(file: bytes) -> bytes:
    """The key's number, in a public key's file and in a signature's: after two bytes that name the algorithm."""
    return base64.b64decode(file.splitlines()[1])[2:10]


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


@contextmanager
def _understood(path: Path, otherwise: str) -> Iterator[None]:
    """Errors of reading and of the library, as one that names the file."""
    try:
        yield
    except OptibenchError:
        raise
    except OSError as error:
        raise OptibenchError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # the library raises ValueError, struct.error, its own and others
        raise OptibenchError(f"{path} {otherwise} ({first_line(error)}).") from error
