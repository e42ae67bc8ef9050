"""What prepares a model's inputs, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench.errors import OptibenchError
from optibench.processors import load_processor
from optibench.values import Model
from tests import factories


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("image", "has no image processor: put its preprocessor_config.json"),
        ("sound", "has no feature extractor: put its preprocessor_config.json"),
        ("text", "tokenizer of minilm cannot be loaded"),
        ("sound+text", "has no feature extractor"),
    ],
)
def test_a_model_without_what_prepares_its_inputs_says_which_file_is_missing(
    tmp_path: Path, kind: str, words: str
) -> None:
    with pytest.raises(OptibenchError) as caught:
        load_processor(Model(ref=factories.model(), path=str(tmp_path)), kind)
    assert words in str(caught.value)


def test_a_processor_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(OptibenchError, match="image processor of minilm cannot be loaded"):
        load_processor(Model(ref=factories.model(), path=str(tmp_path)), "image")
