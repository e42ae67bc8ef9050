"""What tests share: small models made from configs, a cache of their own, and the command as a user runs it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = (  # noqa: SIM905
    "the of and to in a is that for it as was with be by on not he his but at are this have from or had an they "
    "which one you were her all she there would their we him been has when who will more no if out so said what up "
    "its about into than them can only other new some could time these two may then do first any my now such like "
    "our over man me even most made after also did many before must through back years where much your way well "
    "good bad film great boring story actor plot music scene love hate python value object class function name"
).split()

# A page takes seconds, and most tests make a run for another reason; whoever is after the page takes this away again.
os.environ.setdefault("OPTIBENCH_PAGE", "0")

Optibench = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test over a run of every real build is slow, whichever of them asks for that run first."""
    for item in items:
        if "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact cache for the whole session: what one test built, the next takes."""
    return Path(os.environ.get("OPTIBENCH_TEST_CACHE") or tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def optibench(cache_root: Path) -> Optibench:
    """Runs the command in a process of its own, without a network: ``optibench("compare", model, ..., cwd=folder)``."""

    def run(*args: Any, cwd: Path | None = None, env: dict[str, str] | None = None, timeout: float = 600) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "optibench.cli", *map(str, args)],
            cwd=cwd,
            # COLUMNS: pytest-xdist sets it, and where a line breaks must not decide a test.
            env={
                **os.environ,
                "OPTIBENCH_CACHE": str(cache_root),
                "HF_HUB_OFFLINE": "1",
                "COLUMNS": "160",
                **(env or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def write_tokenizer(folder: Path) -> None:
    """A word-level tokenizer over WORDS, in Hugging Face format."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)


def write_bert(folder: Path, head: str = "BertModel", **config: Any) -> Path:
    """A small BERT of random weights, large enough that its outputs vary, with its tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    settings = transformers.BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
        **{"initializer_range": 0.3, **config},
    )
    model = getattr(transformers, head)(settings)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text encoder (feature-extraction)."""
    return write_bert(tmp_path_factory.mktemp("models") / "tiny-bert")


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small text classifier with the labels bad and good."""
    return write_bert(
        tmp_path_factory.mktemp("models") / "tiny-classifier",
        "BertForSequenceClassification",
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled rows in the classifier's words: 240 of them, CSV with the columns review and verdict."""
    import random

    rng = random.Random(1)
    lines = ["review,verdict"]
    for number in range(240):
        lines.append(f"{' '.join(rng.choices(WORDS, k=rng.randint(5, 30)))},{'good' if number % 2 else 'bad'}")
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def write_fake_target(
    folder: Path, against: dict[str, dict[str, Any]] | None = None, **behaviour: dict[str, Any]
) -> Path:
    """Writes the target ``pretend`` for the fake backend into ``folder``, and gives that. ``against`` is what the other
    side of a run of two does otherwise, by precision."""
    usual: dict[str, dict[str, Any]] = {
        "fp32": {"latency_seconds": 0.010},
        "int8": {"latency_seconds": 0.004, "error": 0.01},
    }
    usual.update(behaviour)
    folder.mkdir(exist_ok=True)
    lines = [
        'name = "pretend"',
        'description = "a machine of known speed"',
        'device = "cpu"',
        f"precisions = {json.dumps(list(usual))}",
        "[backends]",
        f"fake = {json.dumps(list(usual))}",
    ]
    others = {f"against:{precision}": settings for precision, settings in (against or {}).items()}
    for precision, settings in {**usual, **others}.items():
        lines += [f'[options.fake."{precision}"]', *(f"{k} = {json.dumps(v)}" for k, v in settings.items())]
    (folder / "pretend.toml").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def fake_target(tmp_path: Path) -> Callable[..., Path]:
    """Writes a target for the fake backend and gives its folder: ``fake_target(int8={"fail": "crash"})``."""
    return functools.partial(write_fake_target, tmp_path / "targets")
