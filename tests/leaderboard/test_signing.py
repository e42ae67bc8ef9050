"""Signatures of minisign beside submissions: whose they are, and what is not one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import minisign
import pytest

from optibench import boards
from optibench.errors import OptibenchError
from optibench.leaderboard.signing import Keys, sign, signature_path
from tests.leaderboard.made import write_submission


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_submission(tmp_path_factory.mktemp("signed") / "sound")


@pytest.fixture
def sound(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path))


def key_pair(folder: Path, name: str, password: str | None = None) -> Path:
    """A new key pair: keys/NAME.pub, and the secret key's file."""
    pair = minisign.KeyPair.generate()
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / f"{name}.pub").write_bytes(bytes(pair.public_key))
    if password:
        pair.secret_key.encrypt(password)
    (folder / f"{name}.key").write_bytes(bytes(pair.secret_key))
    return folder / f"{name}.key"


def verified_by(path: Path) -> str | None:
    (found,) = boards.validate([path], path.parent / "keys")
    assert found.entry is not None, found.problems
    return found.entry.verified_by


def test_a_signature_by_a_trusted_key_names_its_owner(sound: Path, tmp_path: Path) -> None:
    sign(sound, key_pair(tmp_path, "ann"), None)
    key_pair(tmp_path, "bob")
    assert verified_by(sound) == "ann"


def test_without_a_signature_or_by_an_unknown_key_a_submission_is_unverified(sound: Path, tmp_path: Path) -> None:
    key_pair(tmp_path, "ann")
    assert verified_by(sound) is None
    stranger = key_pair(tmp_path, "stranger")
    (tmp_path / "keys" / "stranger.pub").unlink()
    sign(sound, stranger, None)
    assert verified_by(sound) is None


def test_a_key_with_a_password_signs_with_it_and_with_no_other(sound: Path, tmp_path: Path) -> None:
    key = key_pair(tmp_path, "ann", "correct horse")
    for wrong in (None, "wrong"):
        with pytest.raises(OptibenchError, match="or its password is another"):
            sign(sound, key, wrong)
    sign(sound, key, "correct horse")
    assert verified_by(sound) == "ann"


def test_a_file_that_was_changed_after_it_was_signed_is_refused(sound: Path, made: Path, tmp_path: Path) -> None:
    sign(sound, key_pair(tmp_path, "ann"), None)
    other = write_submission(tmp_path / "other", seed=9)
    sound.write_bytes(other.read_bytes())
    (found,) = boards.validate([sound], tmp_path / "keys")
    assert "is not the signature of" in found.problems[0]
    assert "by ann" in found.problems[0]


@pytest.mark.parametrize("damage", [b"", b"untrusted comment: x\nnonsense\n", b"\x00" * 300])
def test_a_damaged_signature_is_refused_in_a_sentence(sound: Path, tmp_path: Path, damage: bytes) -> None:
    sign(sound, key_pair(tmp_path, "ann"), None)
    signature_path(sound).write_bytes(damage)
    (found,) = boards.validate([sound], tmp_path / "keys")
    assert "is no signature of minisign" in found.problems[0]


def test_keys_that_are_none_are_wrong_use(tmp_path: Path, sound: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "ann.pub").write_text("hello")
    with pytest.raises(OptibenchError, match=r"ann\.pub is no public key"):
        Keys(tmp_path / "keys")
    with pytest.raises(OptibenchError, match="is no folder"):
        Keys(tmp_path / "nowhere")
    with pytest.raises(OptibenchError, match="cannot be read"):
        sign(sound, tmp_path / "no.key", None)


@pytest.mark.skipif(not shutil.which("minisign"), reason="needs the program minisign (Debian's package of that name)")
def test_the_program_minisign_accepts_our_signature(sound: Path, tmp_path: Path) -> None:
    sign(sound, key_pair(tmp_path, "ann"), None)
    subprocess.run(["minisign", "-Vm", sound, "-p", tmp_path / "keys" / "ann.pub"], check=True)
