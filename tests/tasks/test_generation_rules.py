"""What a model with an encoder writes is what transformers' own ``generate`` writes, token for token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import models
from optibench.errors import OptibenchError
from optibench.generation_rules import Rules, arrays_of, rules_in, rules_of, with_shared
from optibench.tasks import translation, written
from optibench.values import Model
from tests.conftest import WORDS, write_tokenizer

WORD_COUNT = len(WORDS) + 5
SIZES = {
    "vocab_size": WORD_COUNT, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "init_std": 0.4,
}  # fmt: skip
TOKENS = {"pad_token_id": 0, "eos_token_id": 3, "bos_token_id": 2, "decoder_start_token_id": 2}
NEW = 24


def write_model(folder: Path, kind: str, config: dict[str, Any], generation: dict[str, Any] | None) -> Path:
    """A model with random weights, large enough for outputs to vary, and its generation_config.json (or none)."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, kind)(getattr(transformers, kind.partition("For")[0] + "Config")(**config))
    made.save_pretrained(folder)
    file = folder / "generation_config.json"
    file.unlink(missing_ok=True)
    if generation is not None:
        file.write_text(json.dumps({**TOKENS, "max_new_tokens": NEW, **generation}))
    return folder


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart")
    write_model(folder, "BartForConditionalGeneration", {**SIZES, **TOKENS, "forced_eos_token_id": None}, {})
    write_tokenizer(folder)
    return folder


def in_both_ways(module: Any, model: Model, batch: dict[str, np.ndarray]) -> tuple[list[list[int]], list[list[int]]]:
    """What optibench writes with PyTorch, and what ``generate`` does, up to the end of each row."""
    import torch

    from optibench.encoder_decoder import without_prompt
    from optibench.torch_encoder_decoder import PyTorchEncoderDecoder

    rules = rules_of(model)
    with torch.inference_mode():
        session = PyTorchEncoderDecoder(module, "cpu", "fp32")
        mine = written.run(session, with_shared(batch, arrays_of(rules)), model)[written.TOKENS]
        inputs = {name: torch.as_tensor(array) for name, array in without_prompt(batch).items()}
        theirs = module.generate(**inputs, num_beams=1, do_sample=False).tolist()
    rows = []
    for row in theirs:
        made = row[len(rules.prompt) :] if row[: len(rules.prompt)] == list(rules.prompt) else row
        ends = [place for place, token in enumerate(made) if token in rules.stop]
        rows.append(made[: ends[0]] if ends else made)
    return [row.tolist() for row in mine], rows


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"min_length": 12},
        {"min_new_tokens": 6},
        {"no_repeat_ngram_size": 2},
        {"repetition_penalty": 1.7},
        {"forced_bos_token_id": 9},
        {"forced_bos_token_id": 9, "begin_suppress_tokens": [5, 6, 7, 8]},
        {"suppress_tokens": list(range(20, 60)), "begin_suppress_tokens": [5, 6, 7, 8]},
        {"bad_words_ids": [[0], [14, 15], [30]]},
        {"max_new_tokens": 5},
        {"max_new_tokens": None, "max_length": 10, "forced_eos_token_id": 3},
    ],
    ids=lambda said: "+".join(said) or "plain",
)
def test_each_setting_makes_the_tokens_that_generate_makes(bart: Path, said: dict[str, Any]) -> None:
    import transformers

    settings = {name: value for name, value in {**TOKENS, "max_new_tokens": NEW, **said}.items() if value is not None}
    (bart / "generation_config.json").write_text(json.dumps(settings))
    module = transformers.BartForConditionalGeneration.from_pretrained(bart).eval()
    model = models.resolve(str(bart), task="summarization")
    rng = np.random.default_rng(0)
    batch = {"input_ids": rng.integers(5, WORD_COUNT, (4, 11)), "attention_mask": np.ones((4, 11), np.int64)}
    batch["attention_mask"][1, 7:] = batch["attention_mask"][3, 4:] = 0
    mine, theirs = in_both_ways(module, model, batch)
    assert mine == theirs
    assert len({tuple(row) for row in mine}) > 1  # of a model that says the same of everything all would pass


LANGUAGES = {"<|en|>": 90, "<|fr|>": 91, "<|de|>": 92}
TASKS = {"translate": 93, "transcribe": 94}
# What lies above no_timestamps_token_id are moments, by which generate would cut a sound.
SUPPRESSED = {"suppress_tokens": list(range(90, WORD_COUNT)), "begin_suppress_tokens": [3, 10], "max_length": 40}
MULTILINGUAL = {
    "is_multilingual": True, "lang_to_id": LANGUAGES, "task_to_id": TASKS, "no_timestamps_token_id": 95,
    "return_timestamps": False, **SUPPRESSED,
}  # fmt: skip


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = {
        **SIZES, **TOKENS, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 64,
        "suppress_tokens": None, "begin_suppress_tokens": None, "pad_token_id": 3,
    }  # fmt: skip
    return write_model(tmp_path_factory.mktemp("whisper"), "WhisperForConditionalGeneration", config, {})


@pytest.mark.parametrize(
    ("said", "prompt", "choices"),
    [
        ({**MULTILINGUAL, "language": "fr", "task": "transcribe"}, (2, 91, 94, 95), 0),
        ({**MULTILINGUAL, "language": "<|de|>"}, (2, 92, 94, 95), 0),
        ({**MULTILINGUAL, "task": "translate"}, (2,), 3),
        (MULTILINGUAL, (2,), 2),
        ({**MULTILINGUAL, "forced_decoder_ids": [[1, None], [2, 94], [3, 95]]}, (2,), 3),
        ({"no_timestamps_token_id": 95, **SUPPRESSED}, (2, 95), 0),
    ],
    ids=["language and task", "language", "task", "neither", "the older way", "English alone"],
)
def test_whispers_first_tokens_are_those_of_generate(
    whisper: Path, said: dict[str, Any], prompt: tuple[int, ...], choices: int
) -> None:
    import transformers

    (whisper / "generation_config.json").write_text(json.dumps({**TOKENS, "pad_token_id": 3, **said}))
    module = transformers.WhisperForConditionalGeneration.from_pretrained(whisper).eval()
    model = Model(ref=models.resolve(str(whisper), task="automatic-speech-recognition").ref, path=str(whisper))
    model = msgspec.structs.replace(model, config=json.loads((whisper / "config.json").read_text()))
    rules = rules_of(model)
    assert (rules.prompt, len(rules.begin)) == (prompt, choices)
    batch = {"input_features": np.random.default_rng(0).normal(0, 1, (3, 8, 40)).astype(np.float32)}
    mine, theirs = in_both_ways(module, model, batch)
    begun = [row[choices:] for row in mine]  # generate gives back what follows its own beginning
    assert begun == [row[-len(mine_row) :] if mine_row else [] for row, mine_row in zip(theirs, begun, strict=True)]
    assert any(begun)


def test_rules_travel_with_a_batch_as_arrays() -> None:
    rules = Rules(prompt=(2, 7), stop=(3,), most=9, begin=((4, 5),), bad_words=((1,), (2, 3)), repeat_penalty=1.2)
    batch = with_shared({"input_ids": np.zeros((4, 6), np.int64)}, arrays_of(rules))
    assert batch["decoder_input_ids"].tolist() == [[2, 7]] * 4
    assert rules_in(batch) == rules
    assert rules_in({"input_ids": batch["input_ids"]}) is None


class TestBadInput:
    def test_without_a_generation_config_the_model_config_says_how_it_begins(self, bart: Path) -> None:
        (bart / "generation_config.json").unlink(missing_ok=True)
        rules = rules_of(models.resolve(str(bart), task="translation"))
        assert rules.prompt == (2,)
        assert rules.stop == (3,)
        assert rules.most > 1

    def test_a_model_that_does_not_say_how_it_begins_is_told_what_to_write(self, bart: Path, tmp_path: Path) -> None:
        config = json.loads((bart / "config.json").read_text())
        config |= {"decoder_start_token_id": None, "bos_token_id": None}
        (tmp_path / "config.json").write_text(json.dumps(config))
        (tmp_path / "generation_config.json").write_text("{}")
        model = Model(ref=models.resolve(str(bart), task="translation").ref, path=str(tmp_path), config=config)
        with pytest.raises(OptibenchError, match="expected decoder_start_token_id in its"):
            rules_of(model)

    def test_a_broken_generation_config_is_named(self, bart: Path) -> None:
        (bart / "generation_config.json").write_text("{")
        with pytest.raises(OptibenchError, match=r"The generation_config.json of .* cannot be read"):
            rules_of(models.resolve(str(bart), task="translation"))

    def test_a_language_that_the_model_lacks_lists_those_it_has(self, whisper: Path) -> None:
        (whisper / "generation_config.json").write_text(json.dumps({**TOKENS, **MULTILINGUAL, "language": "xx"}))
        model = models.resolve(str(whisper), task="automatic-speech-recognition")
        with pytest.raises(OptibenchError, match=r"Unknown language 'xx'.*Known: de, en, fr"):
            rules_of(model)

    @pytest.mark.parametrize("text", ["", "  ", None, 3])
    def test_a_text_that_is_none_names_its_row(self, text: Any, tmp_path: Path) -> None:
        with pytest.raises(OptibenchError, match="Row 1 holds"):
            written.text_in({"source": text}, "source", 1)
        assert translation.COLUMNS["source"]
