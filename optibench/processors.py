"""A model's own tokenizer, image processor or feature extractor, from the files beside it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from optibench.cache import sha256_of_file
from optibench.embedders import folder_of
from optibench.errors import OptibenchError, first_line
from optibench.models import PROCESSOR_FILES
from optibench.tasks.base import Pair
from optibench.values import Model

LOADERS = {
    "image": ("AutoImageProcessor", "image processor"),
    "sound": ("AutoFeatureExtractor", "feature extractor"),
}


def tokenizer_digest(model: Model) -> int:
    """A digest of the tokenizer's files beside the model (0 if there are none)."""
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model")
    return _digest(folder_of(model), names)


def processor_digest(model: Model) -> int:
    """A digest of what prepares pictures and sounds (0 if there is nothing)."""
    return _digest(folder_of(model), PROCESSOR_FILES)


def _digest(folder: Path, names: tuple[str, ...]) -> int:
    found = "".join(sha256_of_file(folder / name) for name in names if (folder / name).is_file())
    return zlib.crc32(found.encode()) if found else 0


def load_processor(model: Model, kind: str) -> Any:
    """What a task of this INPUT is given: a tokenizer, an image processor, a feature extractor, or a Pair."""
    first, _, second = kind.partition("+")
    if first == "text":
        return load_tokenizer(model)
    media = _load_media(model, first)
    return Pair(media=media, tokenizer=load_tokenizer(model)) if second else media


def _load_media(model: Model, kind: str) -> Any:
    import transformers

    loader, what = LOADERS[kind]
    folder = folder_of(model)
    if not processor_digest(model):
        raise OptibenchError(
            f"{model.ref.id} has no {what}: put its preprocessor_config.json or processor_config.json beside the model."
        )
    try:
        return getattr(transformers, loader).from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # the libraries below raise whatever their parsers do
        raise OptibenchError(f"The {what} of {model.ref.id} cannot be loaded: {first_line(error)}.") from error


def load_tokenizer(model: Model) -> Any:
    """The model's own tokenizer, from the files beside it."""
    from transformers import AutoTokenizer

    folder = folder_of(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=model.trust_remote_code)
    except Exception as error:  # the libraries below raise whatever their parsers do
        raise OptibenchError(
            f"The tokenizer of {model.ref.id} cannot be loaded: {first_line(error)}. "
            "Put tokenizer.json (or its vocabulary) and tokenizer_config.json beside the model."
        ) from error
    # Where the files are gone, transformers makes some classes of tokenizers of nothing, and every word is unknown.
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise OptibenchError(
            f"The tokenizer of {model.ref.id} cannot be loaded: no file beside the model has its vocabulary. "
            "Put tokenizer.json (or its vocabulary) and tokenizer_config.json beside the model."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def pad_values(tokenizer: Any) -> dict[str, int]:
    """What fills up a shorter row, by input name (0 for those not named)."""
    return {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": getattr(tokenizer, "pad_token_type_id", 0)}
