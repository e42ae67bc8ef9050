"""Publishing: a real server on loopback, huggingface_hub's own client, the command as a user runs it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from huggingface_hub import ModelCard, RepoCard

from optibench import boards, publish, upload
from optibench.cache import Cache
from optibench.errors import OptibenchError
from tests.conftest import Optibench
from tests.hub.large_files import PART_BYTES
from tests.hub.repos import git_oid
from tests.hub.server import Hub
from tests.leaderboard.made import BF16, INT8, records_of, write_run
from tests.published import TOKEN, hub_env, write_published

MODEL = "hub:user/classifier-int8"
RESULTS = "hub-dataset:user/results"
SPACE = "hub-space:user/board"
LOCAL_FILES = ("README.md", "config.json", "model.onnx", "model.onnx.data", "optibench.json", "tokenizer.json")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(token=TOKEN) as running:
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_published(tmp_path)


@pytest.fixture
def ask(optibench: Optibench, hub: Hub, tmp_path: Path) -> Callable[..., Any]:
    """The command against the Hub of the test; what it says never holds the token."""

    def ask(*args: Any, **env: str) -> Any:
        done = optibench(*args, cwd=tmp_path, timeout=120, env=hub_env(hub, tmp_path / "hf", **env))
        assert TOKEN not in done.stdout + done.stderr
        return done

    return ask


def fetched(hub: Hub, folder: Path, repo: str, revision: str | None = None, kind: str = "model") -> Path:
    """The repository's files, as the Hub's client of a stranger who may see them fetches them."""
    code = (
        "import sys, huggingface_hub as h\n"
        f"h.snapshot_download({repo!r}, repo_type={kind!r}, revision={revision!r}, local_dir={str(folder)!r})"
    )
    subprocess.run([sys.executable, "-c", code], env=hub_env(hub, folder.parent / "hf-of-another"), check=True)
    return folder


def test_a_dry_run_shows_what_would_be_sent_and_asks_nobody(ask: Any, run: Path, hub: Hub) -> None:
    done = ask("publish", run, "--to", MODEL, "--dry-run", HF_TOKEN="", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert f"To the model user/classifier-int8 (private), {hub.url}/user/classifier-int8:" in done.stdout
    for name in LOCAL_FILES:
        assert re.search(rf"^  {re.escape(name)}  [\d.]+ k?M?B$", done.stdout, re.MULTILINE), name
    assert done.stdout.endswith("Nothing was sent.\n")
    assert hub.asked == []


def test_the_recommended_build_goes_to_a_private_repository_and_comes_back_whole(
    ask: Any, run: Path, hub: Hub, tmp_path: Path
) -> None:
    done = ask("publish", run, "--to", MODEL)
    assert done.returncode == 0, done.stderr
    repo = hub.repo("user/classifier-int8")
    assert repo.private
    assert done.stdout == f"{hub.url}/user/classifier-int8/commit/{repo.refs['main']}\n"
    weights = repo.head["model.onnx.data"]
    assert len(weights) > 4 * PART_BYTES  # went in parts; model.onnx itself is a small file
    assert any("/lfs/part/" in path for path, _ in hub.asked)
    there = fetched(hub, tmp_path / "build", "user/classifier-int8")
    assert set(LOCAL_FILES) <= {path.name for path in there.iterdir()}
    assert (there / "model.onnx.data").read_bytes() == weights
    assert (there / "README.md").read_bytes() == repo.head["README.md"]


def test_its_card_tells_the_hub_and_a_reader_what_was_measured(ask: Any, run: Path, hub: Hub, tmp_path: Path) -> None:
    assert ask("publish", run, "--to", MODEL).returncode == 0
    files = hub.repo("user/classifier-int8").head
    card = ModelCard(files["README.md"].decode())
    assert card.data.base_model == "author/classifier"
    assert card.data["base_model_relation"] == "quantized"
    assert (card.data.library_name, card.data.pipeline_tag) == ("onnx", "text-classification")
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("wordsim353.tsv", "accuracy", 1.0)
    assert "hf download user/classifier-int8 --local-dir build" in card.text
    assert "**Recommended: cpu/onnxruntime/int8. ONNX Runtime int8 answers in" in card.text
    assert re.search(r"^\| cpu/openvino/bf16 \| 1\d\.\d ms \|", card.text, re.MULTILINE)
    assert "](speed-and-accuracy.png)" in card.text
    assert files["speed-and-accuracy.png"].startswith(b"\x89PNG")
    # Neither the token, which the run's own command holds here, nor a folder of this machine goes along.
    for name, content in files.items():
        assert TOKEN.encode() not in content, name
        assert str(tmp_path).encode() not in content, name
    kept = [path for path in (tmp_path / "hf").rglob("*") if path.is_file()]
    assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


def test_a_second_publish_sends_what_changed_and_the_first_stays_at_its_commit(
    ask: Any, run: Path, hub: Hub, tmp_path: Path
) -> None:
    assert ask("publish", run, "--to", MODEL).returncode == 0
    repo = hub.repo("user/classifier-int8")
    first = repo.refs["main"]
    same = ask("publish", run, "--to", MODEL)
    assert "All of it was there already" in same.stderr
    assert repo.refs["main"] == first
    # The owner adds a licence and a note of his own on the Hub's page; then the build is measured anew.
    mine = repo.head["README.md"].replace(b"---\n", b"---\nlicense: mit\nlanguage:\n- de\n", 1)
    hub.put("user/classifier-int8", {**repo.head, "README.md": mine, "notes.txt": b"mine"})
    hub.asked.clear()
    again = write_published(tmp_path, "again", seed=7)
    assert ask("publish", again, "--to", MODEL).returncode == 0
    before, now = repo.commits[first].files, repo.head
    assert {name for name in now if now[name] != before.get(name)} == {
        *("README.md", "speed-and-accuracy.png", "notes.txt"),
    }
    card = ModelCard(now["README.md"].decode())
    assert (card.data.license, card.data.language) == ("mit", ["de"])
    assert not any("/lfs/part/" in path for path, _ in hub.asked)  # the weights were not sent again
    pinned = fetched(hub, tmp_path / "pinned", "user/classifier-int8", first)
    assert (pinned / "README.md").read_bytes() == before["README.md"]


def test_another_build_in_the_same_repository_takes_the_place_of_the_old_one(ask: Any, run: Path, hub: Hub) -> None:
    old = {"files": {"old.onnx": "00", "../outside": "00"}}
    hub.put("user/classifier-int8", {"optibench.json": json.dumps(old).encode(), "old.onnx": b"x", "notes.txt": b"y"},
            private=True)  # fmt: skip
    assert ask("publish", run, "--to", MODEL, "--case", INT8.name).returncode == 0
    files = hub.repo("user/classifier-int8").head
    assert "old.onnx" not in files
    assert files["notes.txt"] == b"y"


def test_a_home_that_cannot_be_written_does_not_keep_a_second_publish_back(ask: Any, run: Path, hub: Hub) -> None:
    for _ in range(2):
        done = ask("publish", run, "--to", MODEL, HF_HOME="/dev/null/home")
        assert done.returncode == 0, done.stderr
    assert "there already" in done.stdout + done.stderr


def test_a_branch_is_made_and_main_is_left_alone(ask: Any, run: Path, hub: Hub) -> None:
    commit = hub.put("user/classifier-int8", {"README.md": b"---\nlicense: mit\n---\n"}, private=True)
    done = ask("publish", run, "--to", MODEL, "--revision", "next/one")
    assert done.returncode == 0, done.stderr
    repo = hub.repo("user/classifier-int8")
    assert repo.refs["main"] == commit
    assert "model.onnx" in repo.commits[repo.refs["next/one"]].files
    assert b"--revision next/one --local-dir build" in repo.commits[repo.refs["next/one"]].files["README.md"]


def test_what_optibench_did_not_publish_is_not_overwritten(ask: Any, run: Path, hub: Hub) -> None:
    files = {"README.md": b"my model", "model.safetensors": b"weights"}
    commit = hub.put("user/classifier-int8", files, private=True)
    done = ask("publish", run, "--to", MODEL)
    assert done.returncode == 2
    assert "holds something that optibench did not publish (model.safetensors)" in done.stderr
    assert hub.repo("user/classifier-int8").refs["main"] == commit


def test_nobody_publishes_by_mistake(ask: Any, run: Path, hub: Hub) -> None:
    hub.put("user/results", {"README.md": b"mine"}, "datasets")
    done = ask("publish", run, "--to", RESULTS)
    assert done.returncode == 2
    assert "user/results is public: everybody would see what you send. Give --public" in done.stderr
    assert list(hub.repo("user/results", "datasets").head) == ["README.md"]
    assert ask("publish", run, "--to", RESULTS, "--public").returncode == 0
    assert len(hub.repo("user/results", "datasets").head) == 2


@pytest.mark.parametrize(
    ("part", "why", "words"),
    [
        ("/api/datasets/user/results", 401, "The Hub refused to write to the dataset user/results (401)"),
        ("/api/datasets/user/results", "GatedRepo", "user/results is gated: ask for access"),
        ("/api/repos/create", 404, "The Hub answered 404"),
        ("/api/repos/create", 429, "The Hub asks to slow down (429)"),
        ("/api/repos/create", 500, "it has trouble; try again later"),
        ("/commit/main", 429, "The Hub asks to slow down (429) for user/results: wait a minute."),
        ("/commit/main", 413, "The Hub answered 413 for user/results: HfHubHTTPError: Client error '413"),
        ("/commit/main", 403, "hf auth whoami tells whose it is"),
        ("/commit/main", 412, "The Hub did not take what was sent to the dataset user/results"),
        ("/api/validate-yaml", "RepoNotFound", "The Hub has no dataset user/results that your token may write to"),
    ],
)
def test_each_refusal_of_the_hub_is_a_sentence_that_says_what_to_do(
    ask: Any, run: Path, hub: Hub, part: str, why: int | str, words: str
) -> None:
    hub.fail[part] = why
    done = ask("publish", run, "--to", RESULTS)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    found = hub.repos.get(("datasets", "user/results"))
    assert found is None or list(found.head) == [".gitattributes"]


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"HF_TOKEN": ""}, "needs a token of the Hub that may write: run hf auth login, or set HF_TOKEN"),
        ({"HF_TOKEN": "hf_" + "wrong" * 6}, "the token is not valid"),
        ({"HF_TOKEN": "hf_\x01" + "wrong" * 6}, "the one that is set has characters that none has"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_without_a_token_or_a_network_it_says_so(ask: Any, run: Path, env: dict[str, str], words: str) -> None:
    done = ask("publish", run, "--to", RESULTS, **env)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "wrong" * 6 not in done.stderr


def test_a_server_that_says_the_request_back_gets_no_token_into_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    place = upload.place_from_text(RESULTS, ["dataset"])
    said = upload._said(place, ValueError(f"refused: authorization: Bearer {TOKEN}"))
    assert "refused: authorization: Bearer ***" in str(said)


def test_a_traceback_shows_no_token(ask: Any, run: Path, hub: Hub) -> None:
    hub.fail["/commit/main"] = 403
    done = ask("--debug", "publish", run, "--to", RESULTS, HF_DEBUG="1")
    assert "Traceback" in done.stderr
    assert "403" in done.stderr  # ``ask`` has looked for the token


def test_the_records_of_two_runs_lie_side_by_side_and_none_is_overwritten(
    ask: Any, run: Path, hub: Hub, tmp_path: Path
) -> None:
    other = write_published(tmp_path, "other", seed=5)
    assert ask("publish", run, "--to", RESULTS).returncode == 0
    repo = hub.repo("user/results", "datasets")
    assert repo.private
    first = dict(repo.head)
    (name,) = [name for name in first if name.endswith(".parquet")]
    # Somebody else writes into it too, and words the card anew.
    hub.put("user/results", {**first, "README.md": b"ours", "data/theirs.parquet": b"theirs"}, "datasets")
    assert ask("publish", other, "--to", RESULTS).returncode == 0
    twice = ask("publish", run, "--to", RESULTS)
    assert "All of it was there already" in twice.stderr
    files = [name for name in repo.head if name.endswith(".parquet")]
    assert len(files) == 3
    assert (repo.head[name], repo.head["README.md"]) == (first[name], b"ours")
    assert repo.head["data/theirs.parquet"] == b"theirs"
    table = pyarrow.parquet.read_table(io.BytesIO(first[name]))
    assert set(table["model"].to_pylist()) == {"author/classifier"}
    assert table.num_rows == len(records_of())
    assert str(tmp_path).encode() not in first[name] + str(table.to_pylist()).encode()
    configs = RepoCard(first["README.md"].decode()).data["configs"]
    assert configs == [{"config_name": "default", "data_files": "data/*.parquet"}]


def test_a_board_becomes_a_static_space_and_a_new_one_takes_its_place(ask: Any, hub: Hub, tmp_path: Path) -> None:
    boards.build([write_run(tmp_path / "first", records_of())], tmp_path / "site", title="Ours")
    done = ask("leaderboard", "publish", tmp_path / "site", "--to", SPACE)
    assert done.returncode == 0, done.stderr
    space = hub.repo("user/board", "spaces")
    assert (space.private, space.sdk) == (True, "static")
    card = RepoCard(space.head["README.md"].decode())
    assert (card.data["sdk"], card.data["app_file"], card.data["title"]) == ("static", "index.html", "board")
    site = {p.relative_to(tmp_path / "site").as_posix(): p.read_bytes() for p in (tmp_path / "site").rglob("*")
            if p.is_file()}  # fmt: skip
    assert {name: space.head[name] for name in site} == site
    named = space.head["README.md"].replace(b"title: board", b"title: Our board")
    hub.put("user/board", {**space.head, "README.md": named}, "spaces")
    boards.build([write_run(tmp_path / "second", records_of({BF16: 1.4}, seed=3))], tmp_path / "site", title="Ours")
    assert ask("leaderboard", "publish", tmp_path / "site", "--to", SPACE).returncode == 0
    now = {p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*") if p.is_file()}
    assert set(site) - now
    assert set(space.head) == now | {".gitattributes", "README.md"}
    assert RepoCard(space.head["README.md"].decode()).data["title"] == "Our board"


def test_a_space_of_another_purpose_is_left_alone(ask: Any, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "site" / "data").mkdir(parents=True)
    (tmp_path / "site" / "data" / "board.json").write_text("{}")
    hub.put("user/board", {"app.py": b"print()", "README.md": b""}, "spaces", private=True, sdk="gradio")
    done = ask("leaderboard", "publish", tmp_path / "site", "--to", SPACE)
    assert done.returncode == 2
    assert "optibench did not publish (app.py)" in done.stderr
    (tmp_path / "site" / "more").symlink_to(tmp_path)
    with pytest.raises(OptibenchError, match="more is a link, and only files are sent"):
        publish.site(tmp_path / "site", SPACE, dry_run=True)
    with pytest.raises(OptibenchError, match="holds no board: expected a folder that optibench leaderboard build"):
        publish.site(tmp_path, SPACE, dry_run=True)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("user/name", "is no place for this: expected hub:user/name or hub-dataset:user/name"),
        ("hub-space:user/name", "is no place for this"),
        ("hub:name", "names no repository"),
        ("hub:user/name/more", "names no repository"),
        ("hub:user/na me", "names no repository"),
        ("hub:../name", "names no repository"),
        ("hub:user/name@main", "give the branch with --revision"),
        ("hub:", "names no repository"),
    ],
)
def test_a_wrong_place_is_refused_before_anything_is_done(run: Path, to: str, words: str) -> None:
    with pytest.raises(OptibenchError, match=re.escape(words)):
        publish.run(run, to, dry_run=True)


@pytest.mark.parametrize("branch", ["", "a b", "a..b", "a:b"])
def test_a_wrong_branch_is_refused(branch: str) -> None:
    with pytest.raises(OptibenchError, match="is no name of a branch"):
        upload.place_from_text("hub:user/name", ("model",), branch)


def test_a_build_that_left_the_cache_or_changed_there_is_not_published(run: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    ((key, _),) = cache.entries()
    weights = cache.path(key) / "model.onnx.data"
    content = weights.read_bytes()
    for change in (lambda: weights.write_bytes(b"\0" + content[1:]), weights.unlink, lambda: cache.remove(key)):
        change()
        with pytest.raises(OptibenchError, match="is no longer in the cache, or is not what was measured"):
            publish.run(run, MODEL, dry_run=True)


def test_a_model_that_went_away_is_said(run: Path, tmp_path: Path) -> None:
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(OptibenchError, match="whose tokenizer goes with the build, is no longer here"):
        publish.run(run, MODEL, dry_run=True)


def test_the_card_of_a_build_that_generates_text_has_lines_that_write_it(ask: Any, hub: Hub, tmp_path: Path) -> None:
    run = write_published(tmp_path, ref={"task": "text-generation"}, scores=())
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages }}")
    (tmp_path / "model" / "generation_config.json").write_text('{"eos_token_id": [3, 4]}')
    done = ask("publish", run, "--to", MODEL, "--case", INT8.name)
    assert done.returncode == 0, done.stderr
    files = hub.repo("user/classifier-int8").head
    assert {"chat_template.jinja", "generation_config.json"} <= set(files)
    card = files["README.md"].decode()
    assert "pip install onnxruntime transformers jinja2" in card
    assert 'made, ends = inputs["input_ids"], 0, [], {3, 4}' in card


def test_a_run_that_recommends_no_build_says_so_and_one_can_be_named(tmp_path: Path) -> None:
    slow = write_published(tmp_path, "slow", speedups={INT8: 0.5})
    with pytest.raises(OptibenchError, match="recommends to keep the model as it is"):
        publish.run(slow, MODEL, dry_run=True)
    done = publish.run(slow, MODEL, case=INT8.name, dry_run=True)
    assert "model.onnx" in done.sizes
    with pytest.raises(OptibenchError, match=re.escape(f"Did you mean {INT8.name}")):
        publish.run(slow, MODEL, case="cpu/onnxruntime/int9", dry_run=True)
    with pytest.raises(OptibenchError, match="--case goes with hub:user/name"):
        publish.run(slow, RESULTS, case=INT8.name, dry_run=True)
    (slow / "comparison.json").unlink()
    with pytest.raises(OptibenchError, match="was not finished"):
        publish.run(slow, MODEL, dry_run=True)


def test_the_hub_on_loopback_gives_files_the_names_that_git_gives_them() -> None:
    assert git_oid(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"
