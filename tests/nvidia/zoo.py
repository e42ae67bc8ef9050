"""Small models of many architectures with random weights, with inputs of any size: what engines are built of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Sized = Callable[[int, int, np.random.Generator], Arrays]

TEXT = {"vocab_size": 300, "max_position_embeddings": 128, "initializer_range": 0.2}
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


def text(batch: int, length: int, rng: np.random.Generator) -> Arrays:
    """Token ids, the first row shorter than the others where it can be."""
    mask = np.ones((batch, length), np.int64)
    mask[0, max(1, length - 2) :] = 0
    return {"input_ids": rng.integers(5, 300, (batch, length)), "attention_mask": mask}


def picture(batch: int, length: int, rng: np.random.Generator) -> Arrays:
    return {"pixel_values": rng.standard_normal((batch, 3, 64, 64)).astype(np.float32)}


def sound(batch: int, length: int, rng: np.random.Generator) -> Arrays:
    return {"input_features": rng.standard_normal((batch, 80, 64)).astype(np.float32)}


def cached(batch: int, length: int, rng: np.random.Generator) -> Arrays:
    """Two new tokens (one where length is small) after ``length`` cached ones, under the exporter's names."""
    new = 1 if length < 8 else 2
    layers = {
        f"input.past_key_values.layers.{layer}.{kind}": rng.standard_normal((batch, 2, length, 16)).astype(np.float32)
        for layer in range(2)
        for kind in ("keys", "values")
    }
    return {
        "input_ids": rng.integers(5, 300, (batch, new)),
        "attention_mask": np.ones((batch, length + new), np.int64),
        "position_ids": np.broadcast_to(np.arange(length, length + new), (batch, new)).copy(),
        **layers,
    }


@dataclass(frozen=True)
class Architecture:
    """One architecture: its transformers class and config, and its inputs by batch and length."""

    name: str
    model: str
    config: str
    settings: dict[str, Any]
    inputs: Sized
    part: str = ""
    """The attribute of the model that is exported, if it is not the whole."""
    int4_cosine: float = 0.9
    """What int4 weights must keep: random weights are the hardest there are, all of them matter alike."""
    lacks: tuple[str, ...] = ()
    """Precisions in which there is nothing to be had of it."""

    def module(self) -> Any:
        import torch
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, self.model)(getattr(transformers, self.config)(**self.settings)).eval()
        return getattr(model, self.part) if self.part else model

    def arguments(self, arrays: Arrays) -> dict[str, Any]:
        """The arrays as the module takes them: cached keys and values in transformers' own cache."""
        import torch

        tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
        plain = {name: tensor for name, tensor in tensors.items() if "past_key" not in name}
        if len(plain) == len(tensors):
            return plain
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(2):
            prefix = f"input.past_key_values.layers.{layer}"
            cache.update(tensors[f"{prefix}.keys"], tensors[f"{prefix}.values"], layer)
        return {**plain, "past_key_values": cache, "use_cache": True}


DISTIL = {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128}
LLAMA = {**SMALL, "num_key_value_heads": 2}
WHISPER = {
    "d_model": 64,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 128,
    "decoder_ffn_dim": 128,
    "max_source_positions": 32,
    "vocab_size": 300,
    "init_std": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
T5 = {"vocab_size": 300, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
RESNET = {"embedding_size": 16, "hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "layer_type": "basic"}
CONVNEXT = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1], "initializer_range": 0.2}
VIT = {**SMALL, "image_size": 64, "patch_size": 16, "initializer_range": 0.2}

ZOO = (
    Architecture("BERT", "BertModel", "BertConfig", {**TEXT, **SMALL}, text),
    Architecture("ResNet", "ResNetModel", "ResNetConfig", RESNET, picture, lacks=("fp8", "int4-weights")),
    Architecture("DistilBERT", "DistilBertModel", "DistilBertConfig", {**TEXT, **DISTIL}, text),
    Architecture("RoBERTa", "RobertaModel", "RobertaConfig", {**TEXT, **SMALL}, text),
    Architecture("T5 encoder", "T5EncoderModel", "T5Config", T5, text),
    Architecture(
        "GPT-2", "GPT2Model", "GPT2Config", {"vocab_size": 300, "n_embd": 64, "n_layer": 2, "n_head": 4}, text
    ),
    Architecture("ViT", "ViTModel", "ViTConfig", VIT, picture),
    Architecture("ConvNeXt", "ConvNextModel", "ConvNextConfig", CONVNEXT, picture),
    Architecture("Whisper encoder", "WhisperModel", "WhisperConfig", WHISPER, sound, part="encoder"),
    Architecture(
        "Llama decode step with cache", "LlamaForCausalLM", "LlamaConfig", {**TEXT, **LLAMA}, cached, int4_cosine=0.8
    ),
)
