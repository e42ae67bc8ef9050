"""Models with an encoder and a decoder (T5, Marian, Whisper) as two graphs, cut where a generation repeats itself.

``encode`` runs once a text or sound: the encoder, and each decoder layer's keys and values of what was encoded.
``decode`` runs once a token, or over the decoder's first tokens: it takes those keys and values as they are, and its
own past, which grows. So no weight stands in both. The cut is made by the caches that every such model of transformers
has, whatever its architecture: what ``encode`` does not need of the decoder, the exporter leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import tracing
from optibench.decoders import FOLLOWING, STEPS
from optibench.generation_rules import PROMPT
from optibench.traced_code import traceable
from optibench.values import Model

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

PARTS = ("encode", "decode")
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
TRACED = 3
"""Tokens that the decoder is traced with: with one, it would take one at a time only."""


@dataclass(frozen=True)
class Sources:
    """What ``start`` takes: the encoder's inputs, what the decoder takes of them too, and its first tokens."""

    encode: dict[str, numpy.ndarray]
    decode: dict[str, numpy.ndarray]
    prompt: numpy.ndarray


def is_one(model: Model) -> bool:
    """Whether the model's config says so; what its task makes of it is the task's."""
    return bool(model.config.get("is_encoder_decoder"))


def part_file(folder: Path, form: str, part: str) -> Path:
    """Where a part's graph is in a folder that ``write`` wrote."""
    return folder / f"{part}{SUFFIXES[form]}"


def is_part(graph: Path) -> bool:
    """Whether the graph is one of two that belong together."""
    return graph.stem in PARTS


def encoder_of(file: str) -> str | None:
    """The name of the encoder's graph that belongs to the decoder's of this name; None where a graph is whole."""
    graph = Path(file)
    return PARTS[0] + graph.suffix if is_part(graph) else None


def files_of(graph: Path, name: str) -> list[tuple[Path, str]]:
    """The graph and what another of it is called: of a model in two parts both of them, else ``graph`` and ``name``."""
    parts = [graph.with_name(part + graph.suffix) for part in PARTS]
    return [(part, part.name) for part in parts] if is_part(graph) else [(graph, name)]


def without_prompt(sample: Arrays) -> dict[str, numpy.ndarray]:
    """What the encoder takes of a sample."""
    return {name: array for name, array in sample.items() if name not in (PROMPT, FOLLOWING) and name[0] != "_"}


@contextmanager
def encoder_watched(model: Any) -> Iterator[list[Any]]:
    """What the model's encoder gives while this lasts. Its decoder may want more of it than the last hidden state."""
    seen: list[Any] = []
    hook = model.get_encoder().register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        hook.remove()


def modules(model: Any) -> tuple[Any, Any]:
    """The two parts of a transformers model, as modules for the exporters: dictionaries of tensors in and out."""
    import torch
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.modeling_outputs import BaseModelOutput

    @dataclass
    class Encoded(BaseModelOutput):  # type: ignore[misc]
        attention_mask: Any = None

    class Encode(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.config = model, model.config

        def forward(self, **inputs: Any) -> dict[str, Any]:
            """``cross``: for each layer keys and values, shape (batch, heads, encoded length, size)."""
            rows = next(iter(inputs.values())).shape[0]
            any_token = torch.zeros((rows, 1), dtype=torch.long)
            with encoder_watched(self.model) as seen:
                outputs = self.model(**inputs, decoder_input_ids=any_token, use_cache=True)
            layers = outputs.past_key_values.cross_attention_cache.layers
            mask = getattr(seen[0], "attention_mask", None)
            return {
                "encoded": outputs.encoder_last_hidden_state,
                "cross": [[layer.keys, layer.values] for layer in layers],
                **({} if mask is None else {"encoded_mask": mask}),
            }

    class Decode(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model, self.config = model, model.config

        def forward(
            self,
            decoder_input_ids: Any,
            encoded: Any,
            cross: Any,
            past_key_values: Any,
            attention_mask: Any = None,
            encoded_mask: Any = None,
        ) -> dict[str, Any]:
            """``encoded`` is read for its shape alone, so that graphs have no such input. ``encoded_mask`` comes of an
            encoder that shortens its mask with its input."""
            known = DynamicCache()
            for number, (keys, values) in enumerate(cross):
                known.update(keys, values, number)
            cache = EncoderDecoderCache(past_key_values, known)
            cache.is_updated = dict.fromkeys(range(len(cross)), True)
            mask = {} if attention_mask is None else {"attention_mask": attention_mask}
            outputs = self.model(
                decoder_input_ids=decoder_input_ids,
                encoder_outputs=Encoded(last_hidden_state=encoded, attention_mask=encoded_mask),
                past_key_values=cache,
                use_cache=True,
                **mask,
            )
            return {"logits": outputs.logits, "past_key_values": outputs.past_key_values.self_attention_cache}

    return Encode().eval(), Decode().eval()


def traced(model: Any, samples: Sequence[Arrays]) -> list[tuple[Any, dict[str, Any], dict[str, Any] | None]]:
    """For each part: the module, what it is traced with, and which axes are free."""
    import torch
    from torch.export import Dim
    from transformers import DynamicCache

    from optibench.checkpoint import accepted

    own = [without_prompt(sample) for sample in samples]
    inputs = accepted(model, tracing.batch(own, rows=2))
    encode, decode = modules(model)
    tokens = torch.arange(TRACED).repeat(2, 1)
    with torch.no_grad():
        found = encode(**inputs)
        mask = {"attention_mask": inputs["attention_mask"]} if "attention_mask" in inputs else {}
        past = decode(tokens, **found, past_key_values=DynamicCache(), **mask)["past_key_values"]
    growing = {0: Dim.AUTO, 2: Dim.AUTO}
    given = {"decoder_input_ids": tokens, **found, "past_key_values": past, **mask}
    free = {
        "decoder_input_ids": {0: Dim.AUTO, 1: Dim.AUTO},
        "encoded": {0: Dim.AUTO, 1: Dim.AUTO},
        "cross": [[growing, growing] for _ in found["cross"]],
        "past_key_values": [growing for _ in range(2 * len(past.layers))],
        **{name: {0: Dim.AUTO, 1: Dim.AUTO} for name in (*mask, "encoded_mask") if name in given},
    }
    return [(encode, inputs, tracing.free_axes(own, inputs)), (decode, given, free)]


def write(model: Any, form: str, folder: Path, samples: Sequence[Arrays]) -> None:
    """Exports both parts into ``folder``, by transformers' exporters. Raises whatever these do."""
    import torch

    if form == "onnx":
        from transformers.exporters import OnnxConfig as Config
        from transformers.exporters import OnnxExporter as Exporter

        tracing.exact_zeros()
    else:
        from transformers.exporters import OpenVINOConfig as Config
        from transformers.exporters import OpenVINOExporter as Exporter

    for part, (module, inputs, free) in zip(PARTS, traced(model, samples), strict=True):
        with torch.no_grad(), traceable(module, inputs):
            program, _ = Exporter().export_program(module, inputs, Config(dynamic=True, dynamic_shapes=free))
        Exporter.save_program(program, part_file(folder, form, part))
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)


def second_batch(samples: Sequence[Arrays], length: int) -> dict[str, numpy.ndarray]:
    """Other rows and another length than ``traced``'s, the decoder's first tokens, and those that follow them."""
    import numpy as np

    batch = tracing.batch([without_prompt(sample) for sample in samples], rows=3, length=length)
    prompt = samples[0][PROMPT]
    following = np.arange(3 * STEPS).reshape(3, STEPS) + 1
    return {**batch, PROMPT: np.repeat(prompt, 3, axis=0), FOLLOWING: following}


def right_answers(model: Any, batch: Arrays) -> list[numpy.ndarray]:
    """The logits after the decoder's first tokens and after each following one, as one pass over all of them gives
    them: no cache is there to be wrong."""
    import numpy as np
    import torch

    from optibench.checkpoint import accepted

    tokens = np.concatenate([batch[PROMPT], batch[FOLLOWING]], axis=1)
    inputs = accepted(model, without_prompt(batch))
    with torch.no_grad():
        logits = model(**inputs, decoder_input_ids=torch.as_tensor(tokens), use_cache=False).logits.float().numpy()
    return [logits[:, place] for place in range(batch[PROMPT].shape[1] - 1, tokens.shape[1])]
