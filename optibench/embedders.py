"""What sentence-transformers' files beside a model say: how token vectors become one, what comes after, what is
put before a text and how long that may be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from optibench.errors import OptibenchError

if TYPE_CHECKING:
    from optibench.values import Model

FILES = ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling/config.json")

POOLINGS = {
    # sentence-transformers' name -> ours. Divided by a root instead of a count, a mean points the same way.
    "mean": "mean",
    "mean_sqrt_len": "mean",
    "cls": "cls",
    "max": "max",
    "lasttoken": "last",
}
HARMLESS = ("Transformer", "Pooling", "Normalize", "Dropout")
"""Modules that leave the direction of a vector as the model and its pooling make it."""

QUERY = ("query",)
DOCUMENT = ("document", "passage", "corpus")
"""sentence-transformers' names for what is put before a query and a document."""


def folder_of(model: Model) -> Path:
    """Where the model's side files are."""
    path = Path(model.path)
    return path if path.is_dir() else path.parent


def read_json(file: Path) -> Any:
    """A side file's content; None where it is missing or broken (whoever needs it says so)."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def pooling_of(config: dict[str, Any], shown: str) -> str:
    """How token vectors become one (mean where nothing says so). Error: a way that is not known, or several.

    A flag a way until sentence-transformers 5 (``pooling_mode_cls_token: true``), since then one name or several
    (``pooling_mode: cls``).
    """
    said = config.get("pooling_mode") or []
    ways = [said] if isinstance(said, str) else [str(way) for way in said]
    ways += [key.removeprefix("pooling_mode_") for key, on in config.items() if "pooling_mode_" in key and on is True]
    names = [way.removesuffix("_tokens").removesuffix("_token") for way in ways]
    if len(names) > 1 or (names and names[0] not in POOLINGS):
        raise OptibenchError(
            f"{shown} pools its tokens by {' and '.join(ways)}, which this version does not. "
            f"It knows one of: {', '.join(POOLINGS)}."
        )
    return POOLINGS[names[0]] if names else "mean"


def check_modules(folder: Path, task: str, shown: str) -> None:
    """Error where the task judges embeddings and a module beside the model would change them: the score would be one
    of vectors that nobody uses."""
    if task not in ("sentence-similarity", "text-retrieval"):
        return
    listed = read_json(folder / "modules.json")
    kinds = [str(one.get("type", "")).rpartition(".")[2] for one in listed or () if isinstance(one, dict)]
    if others := [kind for kind in dict.fromkeys(kinds) if kind not in HARMLESS]:
        raise OptibenchError(
            f"{shown} makes its embeddings with {' and '.join(others)} besides (modules.json), which this version does "
            "not compute, so a score would not be the model's own. --task feature-extraction times its Transformer "
            "alone and compares token vectors."
        )


def longest_text(model: Model) -> int | None:
    """The tokens at which sentence-transformers cuts a text; None where its files do not say."""
    said = read_json(folder_of(model) / "sentence_bert_config.json")
    found = said.get("max_seq_length") if isinstance(said, dict) else None
    return found if isinstance(found, int) and found > 0 else None


def cut_as_it_is_used(model: Model) -> Model:
    """The model, its longest input being what sentence-transformers cuts at: it may have positions for more."""
    most = longest_text(model)
    return msgspec.structs.replace(model, max_length=min(most, model.max_length or most)) if most else model


def prompt_of(model: Model, *names: str) -> str:
    """What is put before a text: the first of these prompts that the model has, else the one that it names for all
    ("" where there is none). So sentence-transformers' encode, encode_query and encode_document do."""
    said = read_json(folder_of(model) / "config_sentence_transformers.json")
    said = said if isinstance(said, dict) else {}
    prompts = said.get("prompts")
    prompts = prompts if isinstance(prompts, dict) else {}
    name = next((name for name in names if name in prompts), said.get("default_prompt_name"))
    return str(prompts.get(name) or "")


def use(model: Model) -> dict[str, Any]:
    """What of this decides the inputs: part of their cache key. Empty where the files say nothing."""
    prompts = [prompt_of(model, *names) for names in ((), QUERY, DOCUMENT)]
    found = {"cut": longest_text(model), "prompts": prompts if any(prompts) else None}
    return {name: value for name, value in found.items() if value}
