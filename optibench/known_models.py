"""What the transformers that is installed knows, read from its files as text: importing it would take seconds."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path

LISTS = re.compile(r"^MODEL_FOR_(\w+?)(?:_MAPPING)?_NAMES = OrderedDict\((.*?)^\)", re.MULTILINE | re.DOTALL)
TEACHING = ("pretraining", "image", "backbone", "retrieval", "text-encoding", "multimodal-lm")
"""Lists of transformers that do not say what a model is for."""


def known_type(kind: str) -> bool:
    """Whether transformers has models of this type."""
    listed = _text("auto_mappings.py") + _text("configuration_auto.py")
    return code_of(kind) is not None or bool(kind and f'("{kind}", "' in listed)


def code_of(kind: str) -> Path | None:
    """The folder of transformers' code for models of this type; None if it has none. Some are listed as being in
    another's (``data2vec-text`` in ``data2vec``)."""
    listed = re.search(rf'\("{re.escape(kind)}", "([a-z0-9_]+)"\)', _text("auto_mappings.py"))
    name = listed[1] if listed else kind.replace("-", "_").replace(".", "_")
    return next((place for place in _places(name) if place.is_dir()), None) if name.isidentifier() else None


@cache
def tasks_of(architecture: str) -> frozenset[str]:
    """What transformers' own lists say that this class is for, in their words (``text-to-waveform``)."""
    name = re.compile(rf'"{re.escape(architecture)}"')
    lists = LISTS.findall(_text("modeling_auto.py"))
    return frozenset(said.lower().replace("_", "-") for said, body in lists if name.search(body)) - {*TEACHING}


def is_installed() -> bool:
    """Whether there is a transformers to ask."""
    return bool(_places(""))


def _places(below: str) -> list[Path]:
    spec = importlib.util.find_spec("transformers")
    return (
        [Path(folder) / "models" / below for folder in (spec.submodule_search_locations or ()) if spec] if spec else []
    )


@cache
def _text(name: str) -> str:
    files = [place / name for place in _places("auto")]
    return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
