"""Models and data from a Hub: a real server on loopback, the real client, the command as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Optibench
from tests.hub.server import Hub

TOKEN = "hf_secretsecretsecret"


@pytest.fixture
def hub(tiny_classifier: Path) -> Iterator[Hub]:
    files = {p.name: p.read_bytes() for p in tiny_classifier.iterdir()}
    with Hub() as running:
        unwanted = {"onnx/model.onnx": b"not wanted", "tf_model.h5": b"not wanted"}
        commit = running.put("user/classifier", {**files, **unwanted}, pipeline_tag="text-classification")
        running.repo("user/classifier").tags["v1"] = commit
        yield running


@pytest.fixture
def ask(optibench: Optibench, hub: Hub, tmp_path: Path) -> Any:
    """``optibench compare NAME --dry-run --json`` against the Hub of the test."""

    def run(name: str, *more: str, **env: str) -> Any:
        return optibench(
            "compare", name, "--dry-run", "--json", *more, cwd=tmp_path, timeout=60,
            env={
                "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN, **env,
            },
        )  # fmt: skip

    return run


def test_a_hub_id_resolves_to_its_commit_and_task(ask: Any, hub: Hub) -> None:
    done = ask("user/classifier")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout)["model"]
    assert model["id"] == "user/classifier"
    assert model["revision"] == hub.repo("user/classifier").refs["main"]
    assert model["task"] == "text-classification"
    assert model["source"] == "hub"
    assert len(model["weights_sha256"]) == 64


def test_only_what_is_needed_is_fetched_and_the_token_goes_to_the_hub_alone(ask: Any, hub: Hub) -> None:
    done = ask("user/classifier")
    fetched = {path for path, _ in hub.asked if "/resolve/" in path}
    assert any(path.endswith("model.safetensors") for path in fetched)
    assert not any(path.endswith((".onnx", ".h5")) for path in fetched)
    assert f"Bearer {TOKEN}" in {token for _, token in hub.asked}
    assert TOKEN not in done.stdout + done.stderr


def test_a_revision_after_the_at_sign_is_used(ask: Any, hub: Hub) -> None:
    assert ask("user/classifier@v1").returncode == 0
    assert any("/revision/v1" in path for path, _ in hub.asked)


def test_a_model_fetched_once_runs_without_the_network_and_says_so(ask: Any, hub: Hub) -> None:
    assert ask("user/classifier").returncode == 0
    offline = ask("user/classifier", HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert json.loads(offline.stdout)["model"]["revision"] == hub.repo("user/classifier").refs["main"]
    away = ask("user/classifier", HF_ENDPOINT="http://127.0.0.1:9")
    assert away.returncode == 0, away.stderr
    assert "fetched before" in away.stderr


def test_a_download_that_breaks_off_is_gone_on_with(ask: Any, hub: Hub, tmp_path: Path) -> None:
    from safetensors.numpy import load, save

    files = hub.repo("user/classifier").head
    # The client writes 10 MiB at a time: what it has of a smaller file is lost with the connection.
    more = {**load(files["model.safetensors"]), "more": np.ones(6 << 20, np.float32)}
    hub.put("user/large", {**files, "model.safetensors": save(more)})
    hub.cut["model.safetensors"] = 15 << 20
    done = ask("user/large", "--task", "text-classification")
    assert done.returncode == 0, done.stderr
    assert hub.cut == {}
    assert hub.ranges == [("model.safetensors", f"bytes={10 << 20}-")]
    (got,) = (tmp_path / "hf").rglob("snapshots/*/model.safetensors")
    assert got.read_bytes() == hub.repo("user/large").head["model.safetensors"]


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("RepoNotFound", "The Hub has no model user/broken"),
        ("GatedRepo", "user/broken is gated"),
        (401, "HF_TOKEN"),
        (429, "slow down"),
        (500, "it has trouble"),
    ],
)
def test_each_refusal_of_the_hub_is_a_sentence_that_says_what_to_do(
    ask: Any, hub: Hub, why: int | str, words: str
) -> None:
    hub.fail["user/broken"] = why
    done = ask("user/broken")
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert TOKEN not in done.stderr


def test_an_unknown_revision_is_named(ask: Any) -> None:
    done = ask("user/classifier@nowhere")
    assert done.returncode == 2
    assert "no revision 'nowhere'" in done.stderr


def test_pickled_weights_on_the_hub_are_refused_before_they_are_fetched(ask: Any, hub: Hub) -> None:
    files = hub.repo("user/classifier").head
    hub.put("user/pickled", {"config.json": files["config.json"], "pytorch_model.bin": files["model.safetensors"]})
    done = ask("user/pickled")
    assert done.returncode == 2
    assert "--allow-pickle" in done.stderr
    assert not any(path.endswith(".bin") for path, _ in hub.asked)


def test_weights_of_another_library_are_refused_before_anything_is_fetched(ask: Any, hub: Hub) -> None:
    hub.put("user/quants", {"README.md": b"quants", "quants-Q4_K_M.gguf": b"GGUF"})
    done = ask("user/quants")
    assert done.returncode == 2
    assert "user/quants has its weights only as quants-Q4_K_M.gguf, for llama.cpp" in done.stderr
    assert not any("resolve" in path for path, _ in hub.asked)


def test_a_hub_data_set_judges_accuracy(ask: Any, hub: Hub, reviews: Path, tmp_path: Path) -> None:
    hub.put("user/reviews", {"train.csv": reviews.read_bytes(), "README.md": b"---\nlicense: mit\n---\n"}, "datasets")
    done = ask(
        "user/classifier", "--dataset", "user/reviews", "--columns", "text=review,label=verdict",
        HF_DATASETS_CACHE=str(tmp_path / "datasets"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workload"]["dataset"] == "user/reviews"
    wrong = ask("user/classifier", "--dataset", "user/reviews", HF_DATASETS_CACHE=str(tmp_path / "datasets"))
    assert wrong.returncode == 2
    assert "Its columns are: review, verdict" in wrong.stderr


def test_a_hub_data_set_that_is_not_there_is_a_clear_error(ask: Any, tmp_path: Path) -> None:
    done = ask("user/classifier", "--dataset", "user/nothing", HF_DATASETS_CACHE=str(tmp_path / "datasets"))
    assert done.returncode == 2
    assert "The Hub data set user/nothing cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
