"""A decoder run by PyTorch, as transformers' ``generate`` runs it: its own cache, logits of the last token alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optibench.decoding import NO_CACHE, WANTED, Place, Prompts, prompts_from
from optibench.errors import CaseFailed
from optibench.torch_session import PyTorchSession

if TYPE_CHECKING:
    import numpy


class PyTorchDecoder(PyTorchSession):
    """A loaded decoder and the cache that it keeps."""

    cache: Any = None

    @cached_property
    def takes(self) -> frozenset[str]:
        """The names that the model's forward has."""
        import inspect

        return frozenset(inspect.signature(self.model.forward).parameters)

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        return prompts_from(inputs)

    def call(self, feed: Any) -> Any:
        return {"logits": self._run(feed.inputs(every=True), use_cache=False).logits}

    def start(self, inputs: Prompts) -> numpy.ndarray:
        self.cache, self.place = None, Place(inputs)
        return self._next(inputs.inputs())

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        return self._next(self.place.following(tokens))

    def on_device(self, feed: Any) -> dict[str, Any]:
        return {}

    def cache_bytes(self) -> int:
        """Of the keys and values of every layer."""
        import torch

        tensors = [value for layer in self.cache.layers for value in vars(layer).values()]
        return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))

    def _next(self, arrays: Mapping[str, numpy.ndarray]) -> numpy.ndarray:
        outputs = self._run(arrays, past_key_values=self.cache, use_cache=True)
        self.cache = getattr(outputs, "past_key_values", None)
        if self.cache is None or not hasattr(self.cache, "layers"):
            raise CaseFailed(NO_CACHE)
        logits: numpy.ndarray = outputs.logits[:, -1].float().cpu().numpy()
        return logits

    def _run(self, arrays: Mapping[str, numpy.ndarray], **more: Any) -> Any:
        import torch

        tensors = {
            name: torch.from_numpy(array).to(self.device)
            for name, array in arrays.items()
            if name in self.takes and name != "cache_position"
        }
        if WANTED in tensors and len(tensors[WANTED]) == 1:
            tensors[WANTED] = 1  # as generate says it: the last
        return self.model(**tensors, **{name: value for name, value in more.items() if value is not None})
