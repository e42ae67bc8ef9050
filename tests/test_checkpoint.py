from __future__ import annotations

from pathlib import Path

import pytest

from optibench import checkpoint, models
from optibench.errors import OptibenchError
from tests.conftest import write_tokenizer


def test_a_classifier_with_a_decoder_gives_no_cache_though_its_decoder_has_a_config_of_its_own(tmp_path: Path) -> None:
    import torch
    import transformers

    sizes = {"vocab_size": 105, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, eos_token_id=3, pad_token_id=0)
    transformers.T5ForSequenceClassification(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    module = checkpoint.load(models.resolve(str(tmp_path)))
    assert module(input_ids=torch.tensor([[5, 6, 3]])).past_key_values is None


def test_a_task_that_the_models_type_has_no_form_for_is_said(tiny_bert: Path) -> None:
    model = models.resolve(str(tiny_bert), task="translation")
    with pytest.raises(OptibenchError, match=r"type bert, as tiny-bert is, have no form for translation .*--task"):
        checkpoint.load(model)
