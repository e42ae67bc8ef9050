"""A model with an encoder run by PyTorch, as transformers' ``generate`` runs it: the encoder once, then the decoder
with the cache of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optibench.encoder_decoder import encoder_watched, without_prompt
from optibench.generation_rules import PROMPT
from optibench.torch_session import PyTorchSession

if TYPE_CHECKING:
    import numpy


class PyTorchEncoderDecoder(PyTorchSession):
    """A loaded model, its cache, and what the encoder made."""

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        run, tensors = super().feed({**without_prompt(inputs), PROMPT: inputs[PROMPT]})
        return run, tensors

    def call(self, feed: Any) -> Any:
        return {"logits": self.start(feed)}

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        found: dict[str, numpy.ndarray] = outputs
        return found

    def start(self, inputs: Any) -> numpy.ndarray:
        _, tensors = inputs
        with encoder_watched(self.model) as seen:
            outputs = self.model(**tensors, use_cache=True)
        # The mask stays of use: it says which of the encoded places are only filled up.
        self.given = {name: tensors[name] for name in ("attention_mask",) if name in tensors}
        self.given["encoder_outputs"] = seen[0]
        return self._logits(outputs)

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        import torch

        following = torch.from_numpy(tokens[:, None]).to(self.device)
        given = {PROMPT: following, "past_key_values": self.cache, **self.given}
        return self._logits(self.model(**given, use_cache=True))

    def on_device(self, feed: Any) -> dict[str, Any]:
        return {}

    def cache_bytes(self) -> int:
        """Of the keys and values of every layer, its own and the encoder's."""
        import torch

        layers = [*self.cache.self_attention_cache.layers, *self.cache.cross_attention_cache.layers]
        tensors = [value for layer in layers for value in vars(layer).values()]
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))

    def _logits(self, outputs: Any) -> numpy.ndarray:
        self.cache = outputs.past_key_values
        logits: numpy.ndarray = outputs.logits[:, -1].float().cpu().numpy()
        return logits
