"""What a submission holds, what it leaves out, and what it is called."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import msgspec
import pytest

from optibench import boards, bundle, store
from optibench.errors import OptibenchError
from optibench.leaderboard import private, submission
from optibench.values import Finding
from tests.factories import host, model
from tests.leaderboard.made import raw, records_of, write_run

TOKEN = "hf_" + "a1B2" * 8


def everything(path: Path) -> str:
    return "\n".join(data.decode() for data in raw(path).values())


def test_the_same_run_gives_the_same_file_by_the_same_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of())
    first, second = submission.pack(run), submission.pack(run)
    assert (first.name, first.data) == (second.name, second.data)
    assert first.name.startswith("minilm-intel-xeon-platinum-8481c-2026-11-20-")


def test_folders_names_and_secrets_stay_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "build7.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "mallory")
    monkeypatch.setenv("COMPANY_API_KEY", "correct-horse-battery")
    records = records_of()
    text = (
        f"/home/mallory/models/secret-project/model.onnx on build7, ~/data/x.csv and ../work/plan.txt; {TOKEN}; "
        "https://me:hunter2@example.org/repo; correct-horse-battery; file:///srv/private/f.bin; C:\\Users\\mal\\m.x; "
        "at:/srv/deep/thing.bin; api_key=abcdefgh1; GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    )
    broken = msgspec.structs.replace(
        records[2], case=msgspec.structs.replace(records[2].case, precision="fp32"), status="failed", reason=text,
        measurement=None, scores=(), findings=(Finding(name="x", found=text, fine=True),),
    )  # fmt: skip
    run = write_run(
        tmp_path / "run",
        [*records, broken],
        command=f"optibench compare /home/mallory/secret-project/minilm --dataset {tmp_path}/reviews.csv",
        warnings=(text,),
    )
    done = boards.submit(run, tmp_path)
    assert done.path is not None, done.problems
    shown = everything(done.path)
    for private_text in (
        *("secret-project", "/home", "mallory", "build7", TOKEN, "hunter2", "correct-horse-battery", "/srv"),
        *("Users", "abcdefgh1", "aaaaaaaa-bbbb", str(tmp_path), "../work", "~/"),
    ):
        assert private_text not in shown, private_text
    assert "model.onnx on ***" in shown
    assert "x.csv and plan.txt" in shown
    assert "f.bin" in shown
    assert "optibench compare minilm --dataset reviews.csv" in shown


def test_names_that_are_no_folders_stay_as_they_are() -> None:
    clean = private.cleaner(records_of())
    for text in (
        "user/model at revision main",
        "package:gensim/test/test_data/wordsim353.tsv",
        "https://example.org/a/b/c.html",
        "cpu/openvino/int8 at 1x128",
        "2.4 Gop/s and 3 MB/s, and/or",
        "[-0.004, +0.008] 1/2",
    ):
        assert clean(text) == text


def test_a_machine_called_like_a_backend_does_not_break_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "openvino")
    monkeypatch.setattr(getpass, "getuser", lambda: "cpu")
    done = boards.submit(write_run(tmp_path / "run", records_of()), tmp_path)
    assert done.path is not None
    (found,) = boards.validate([done.path])
    assert found.fine
    assert "openvino" in everything(done.path)


def test_what_no_board_would_take_is_not_packed(tmp_path: Path) -> None:
    done = boards.submit(write_run(tmp_path / "run", records_of(twin=1.1)), tmp_path)
    assert done.path is None
    assert "A/A check failed" in done.problems[0]
    assert not list(tmp_path.glob("*.zip"))


def test_an_unfinished_run_and_no_run_cannot_be_submitted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of())
    (run / store.COMPARISON).unlink()
    with pytest.raises(OptibenchError, match="was not finished"):
        boards.submit(run)
    with pytest.raises(OptibenchError, match="does not exist"):
        boards.submit(tmp_path / "nowhere")


def test_a_submission_does_not_replace_another_file_and_ends_as_boards_expect(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of())
    there = tmp_path / f"mine{submission.SUFFIX}"
    there.write_text("precious")
    with pytest.raises(OptibenchError, match="exists already, and is another one"):
        boards.submit(run, there)
    with pytest.raises(OptibenchError, match="must end in"):
        boards.submit(run, tmp_path / "mine.zip")
    assert there.read_text() == "precious"
    first = boards.submit(run, tmp_path)
    assert boards.submit(run, tmp_path) == first  # the same again is no other one
    made = boards.submit(run, tmp_path / "new" / "submissions").path  # a folder that is not there yet
    assert made is not None
    assert made.parent == tmp_path / "new" / "submissions"


def test_a_bundle_of_a_whole_run_is_submitted_like_its_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", records_of())
    whole, _ = bundle.write(run, tmp_path / "run.optibench.zip")
    assert submission.pack(whole).data == submission.pack(run).data
    with pytest.raises(OptibenchError, match="no submission"):
        submission.read(whole)


def test_hostile_text_goes_through_as_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[31m\u202e|`$(rm -rf)`"
    run = write_run(tmp_path / "run", records_of(model=model(id=evil, task="text-classification"), host=host(os=evil)))
    done = boards.submit(run, tmp_path)
    assert done.path is not None
    assert done.path.name.startswith("script-alert-1-script")
    assert json.loads(raw(done.path)["comparison.json"])["model"]["id"].startswith("<script>alert(1)")
