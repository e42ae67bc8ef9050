"""From a decoder to one graph that serves prefill and decode alike: it takes any number of tokens and any cache, also
an empty one. What it is traced with, what it must answer, and how its weights are compressed for OpenVINO.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.decoding import NO_CACHE, WANTED, Prompts, prompts_from
from optibench.errors import CaseFailed

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

VERSION = 2
"""Of how decoders are exported: part of the exports' key in the cache."""
FOLLOWING = "following"
"""The tokens that are appended one by one when a build is tried, shape (rows, steps)."""
STEPS = 4


def left_padded(samples: Sequence[Arrays], lengths: Sequence[int]) -> dict[str, numpy.ndarray]:
    """A row of each length, of real tokens, filled up on the left."""
    import numpy as np

    stream = np.concatenate([sample["input_ids"][0] for sample in samples])
    longest = max(lengths)
    stream = np.resize(stream, sum(lengths) + longest)
    ids, mask = np.zeros((2, len(lengths), longest), np.int64)
    for row, length in enumerate(lengths):
        start = sum(lengths[:row])
        ids[row, longest - length :] = stream[start : start + length]
        ids[row, : longest - length] = stream[-1]
        mask[row, longest - length :] = 1
    return {"input_ids": ids, "attention_mask": mask}


def traced(module: Any, samples: Sequence[Arrays]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The module, the forward inputs that an exporter traces, and their axes that vary: two tokens after a cache of two
    rows, one of them filled up, so that nothing looks constant; many, where a state is made chunk by chunk. Error: an
    architecture that cannot be taken apart."""
    import inspect

    import torch
    from transformers.exporters.exporter_dynamo import get_auto_dynamic_shapes
    from transformers.exporters.utils import decompose_for_generation

    if "past_key_values" not in inspect.signature(module.forward).parameters:
        raise CaseFailed(NO_CACHE)
    inputs = {name: torch.as_tensor(array) for name, array in left_padded(samples, (7, 4)).items()}
    parts = decompose_for_generation(module, inputs, multi_token_decode=True)
    if set(parts) != {"prefill", "decode"}:
        raise CaseFailed(f"It is made of parts ({', '.join(parts)}) where one decoder is expected.")
    part, forward = parts["decode"]
    if (chunk := chunk_of(module.config)) and has_states(module):
        forward = widened(forward, chunk + 1)
    if WANTED in inspect.signature(module.forward).parameters:
        forward[WANTED] = torch.tensor([0, 1])
    # Flags (use_cache and the like) are no inputs: exporters take them out.
    given = {name: value for name, value in forward.items() if not isinstance(value, bool)}
    return part, dict(forward), _varying(get_auto_dynamic_shapes(given))


def has_states(module: Any) -> bool:
    """Whether some layer keeps a state of one size (Mamba's, a short convolution's) instead of keys and values."""
    from transformers.cache_utils import DynamicCache, LinearAttentionCacheLayerMixin

    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in DynamicCache(config=module.config).layers)


def chunk_of(config: Any) -> int:
    """Of how many tokens the chunks are in which it makes its states; 0 where it names none. Traced with a single chunk
    their number would be one for ever."""
    named = config.to_dict().items()
    return max((size for name, size in named if name.endswith("chunk_size") and isinstance(size, int)), default=0)


def widened(forward: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """The forward inputs with that many tokens after their cache: their own again and again."""
    import torch

    ids = forward["input_ids"]
    more = tokens - ids.shape[1]
    wide = {"input_ids": ids[:, torch.arange(tokens) % ids.shape[1]]}
    if (mask := forward.get("attention_mask")) is not None:
        wide["attention_mask"] = torch.nn.functional.pad(mask, (0, more), value=1)
    if (positions := forward.get("position_ids")) is not None:
        wide["position_ids"] = positions[:, :1] + torch.arange(tokens)
    return {**forward, **wide}


def _varying(free: Any) -> Any:
    """Without the heads of a cache and their width (axes 1 and 3 of its keys and values, which alone have four): where
    these look free, OpenVINO does not see attention over shared heads as one operation, and exporting takes longer."""
    if isinstance(free, dict) and set(free) == {0, 1, 2, 3}:
        return {axis: free[axis] for axis in (0, 2)}
    if isinstance(free, dict):
        return {name: _varying(inner) for name, inner in free.items()}
    return type(free)(map(_varying, free)) if isinstance(free, list | tuple) else free


def second_batch(samples: Sequence[Arrays], length: int, limit: int) -> dict[str, numpy.ndarray]:
    """Other rows and lengths than ``traced``'s, and the tokens that follow them one by one. One row is short: what a
    lost mask lets through of its padding would fade in a long one's states."""
    longest = max(2, min(length, limit - STEPS))
    batch = left_padded(samples, (longest, longest // 2, min(3, longest)))
    batch[FOLLOWING] = left_padded(samples[::-1], (STEPS, STEPS, STEPS))["input_ids"]
    return batch


def right_answers(module: Any, batch: Arrays) -> list[numpy.ndarray]:
    """The logits after the prompt and after each following token, as one pass over the whole texts gives them: no cache
    is there to be wrong."""
    import numpy as np
    import torch

    from optibench.checkpoint import accepted

    steps, length = batch[FOLLOWING].shape[1], batch["input_ids"].shape[1]
    mask = np.pad(batch["attention_mask"], ((0, 0), (0, steps)), constant_values=1)
    arrays = dict(Prompts(np.concatenate([batch["input_ids"], batch[FOLLOWING]], axis=1), mask).inputs())
    arrays[WANTED] = np.arange(length - 1, length + steps)
    del arrays["cache_position"]
    with torch.no_grad():
        logits = module(**accepted(module, arrays), use_cache=False).logits.float().numpy()
    return [logits[:, place] for place in range(-steps - 1, 0)]


def followed(session: Any, batch: Arrays) -> list[numpy.ndarray]:
    """The same of a GenerativeSession, which keeps a cache."""
    import numpy as np

    found = [np.array(session.start(session.feed(batch)))]
    return found + [np.array(session.step(tokens)) for tokens in np.ascontiguousarray(batch[FOLLOWING].T)]


RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("openvino-decoder", "int8-weights"): {"by": "nncf compress_weights", "mode": "int8_asym", "v": 1},
    ("openvino-decoder", "int4-weights"): {"by": "nncf compress_weights", "mode": "int4_asym", "group": 64, "v": 1},
    ("openvino-decoder", "int4-awq-weights"): {
        "by": "nncf compress_weights",
        "mode": "int4_asym",
        "group": 64,
        "awq": True,
        "scale_estimation": True,
        "v": 1,
    },
    ("openvino-decoder", "int4-gptq-weights"): {
        "by": "nncf compress_weights",
        "mode": "int4_asym",
        "group": 64,
        "gptq": True,
        "v": 1,
    },
}
"""int4 leaves embeddings and the last layer in int8, as NNCF does by default. Those with awq or gptq are data-aware."""
SAMPLES = 64


def compressed(model: Any, precision: str, samples: Sequence[Arrays]) -> Any:
    """The OpenVINO model with compressed weights, by its recipe."""
    import nncf

    how = RECIPES["openvino-decoder", precision]
    if how["mode"] == "int8_asym":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    aware = {name: how[name] for name in ("awq", "scale_estimation", "gptq") if name in how}
    data = nncf.Dataset([_feed(model, sample) for sample in samples[:SAMPLES]]) if aware else None
    shrink = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
    return nncf.compress_weights(
        model,
        mode=nncf.CompressWeightsMode.INT4_ASYM,
        group_size=how["group"],
        dataset=data,
        advanced_parameters=shrink,  # a width that no group divides gets a smaller group, not an error
        **aware,
    )


def _feed(model: Any, sample: Arrays) -> dict[str, numpy.ndarray]:
    """One calibration text as the model's inputs."""
    import numpy as np

    prompts = prompts_from(sample)
    given = {**prompts.inputs(), "beam_idx": np.arange(len(prompts.ids), dtype=np.int32)}
    names = {name for port in model.inputs for name in port.get_names()}
    return {name: array for name, array in given.items() if name in names}
