"""Attention over a cache as ONNX Runtime's own operator, where a decoder is exported for it.

As it is traced, attention is a dozen nodes a layer: the cache is joined to the new keys and values, these are repeated
for each head that shares them, and the whole is multiplied. GroupQueryAttention (com.microsoft) appends to the cache
and reads shared heads as they lie, which is what onnxruntime-genai's graphs decode with. It is put in place of
transformers' own function ("sdpa") while a model is traced, so that every architecture that calls that function gets
it, whatever its name; the norms, rotary embeddings and neighbouring products are then fused by transformers' exporter.
docs/generation.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

VERSION = 2
"""Part of the exports' key in the cache."""
IN_PLACE = "written in place"
"""In a graph's metadata: the inputs that may be longer than what they hold, and be given as the outputs too."""


class Way(NamedTuple):
    """How a graph is made. ``fusions``: the provider whose operators transformers' exporter fuses to; ``one_length``:
    texts are filled up to one length in it (fixed_length.py)."""

    own_attention: bool = False
    fusions: str | None = None
    one_length: bool = False


WAYS = (Way(own_attention=True, fusions="cpu"), Way(own_attention=True), Way())
"""Tried in turn: the first whose answers are PyTorch's is kept. The last is what any runtime runs."""


@contextmanager
def own_attention() -> Iterator[None]:
    """While it lasts, what is traced has GroupQueryAttention where a layer's cache only grows and its mask is known.

    It takes one further token a row after a cache, or any number where the cache is empty: what sessions ask for.
    What it does not reach (other functions, sliding windows, biases of a position) stays as it is.
    """
    from transformers.cache_utils import DynamicLayer
    from transformers.modeling_utils import AttentionInterface

    sdpa, grow = AttentionInterface()["sdpa"], DynamicLayer.update
    # By the identity of the keys, which are held so that no other tensor takes it.
    waiting: dict[int, tuple[Any, Any]] = {}
    biases: dict[int, tuple[Any, Any]] = {}

    def update(layer: Any, keys: Any, values: Any, *args: Any, **settings: Any) -> Any:
        if type(layer) is not DynamicLayer or not _fits(layer, keys, values):
            return grow(layer, keys, values, *args, **settings)
        waiting[id(keys)] = keys, layer
        return keys, values

    def attend(module: Any, query: Any, keys: Any, values: Any, mask: Any = None, **settings: Any) -> Any:
        _, layer = waiting.pop(id(keys), (None, None))
        if layer is not None and (mask is None or _more_than_a_mask(settings)):
            keys, values = grow(layer, keys, values)
            layer = None
        if layer is None:
            return sdpa(module, query, keys, values, mask, **settings)
        if id(mask) not in biases:  # one for all layers
            biases[id(mask)] = mask, _added(mask)
        answer, layer.keys, layer.values = _operator(
            query, keys, values, layer, biases[id(mask)][1], settings.get("scaling")
        )
        return answer, None

    AttentionInterface.register("sdpa", attend)
    DynamicLayer.update = update
    try:
        yield
    finally:
        AttentionInterface.register("sdpa", sdpa)
        DynamicLayer.update = grow


def _fits(layer: Any, keys: Any, values: Any) -> bool:
    """The operator takes heads of one width, in eights, and a cache that is there (of no tokens, if need be)."""
    there = layer.is_initialized and layer.keys.ndim == 4
    return bool(there and keys.shape == values.shape and keys.shape[-1] % 8 == 0)


def _more_than_a_mask(settings: Mapping[str, Any]) -> bool:
    return any(settings.get(name) is not None for name in ("position_bias", "softcap", "s_aux"))


def _added(mask: Any) -> Any:
    """What is added to the scores: a mask says which keys count, or is that already."""
    import torch

    return torch.where(mask, 0.0, torch.finfo(torch.float32).min) if mask.dtype == torch.bool else mask


def _operator(query: Any, keys: Any, values: Any, layer: Any, bias: Any, scaling: float | None) -> tuple[Any, Any, Any]:
    """The attention's answer, shape (rows, tokens, heads, width), and the layer's cache with what is new."""
    import torch

    rows, heads, tokens, width = query.shape
    total = layer.keys.shape[2] + tokens
    shape = rows, keys.shape[1], total, width
    # All rows are as long as the longest: those that were filled up on the left have that in the bias.
    last = torch.full((rows,), 0, dtype=torch.int32) + (total - 1)
    length = torch.full((), 0, dtype=torch.int32) + total
    given = [states.transpose(1, 2).reshape(rows, tokens, -1) for states in (query, keys, values)]
    answer, *cache = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*given, layer.keys, layer.values, last.int(), length.int(), None, None, None, bias],
        {"num_heads": heads, "kv_num_heads": keys.shape[1], "scale": width**-0.5 if scaling is None else scaling},
        dtypes=[query.dtype] * 3,
        shapes=[(rows, tokens, heads * width), shape, shape],
        version=1,
    )
    return answer.reshape(rows, tokens, heads, width), *cache


def write_in_place(model: Any) -> None:
    """Lets a cache lie in room for more tokens than there are, so that the operator writes new ones where they belong
    and copies nothing: how many there are is told by the mask instead of by the cache's own length. A cache that is as
    long as what it holds is taken as before. What looks at a cache otherwise (sliding windows) stays as it is."""
    import onnx_ir

    inputs = {value.name: value for value in model.graph.inputs}
    pairs = [node.inputs[3:5] for node in model.graph if node.op_type == "GroupQueryAttention"]
    caches = [cache for pair in pairs if all(map(_known_by_its_length, pair)) for cache in pair]
    if not caches or not inputs.keys() >= {"attention_mask", "input_ids"}:
        return
    lengths = [user for cache in caches for user, _ in cache.uses() if user.op_type == "Shape"]
    axis = {"start": 1, "end": 2}
    sizes = [onnx_ir.node("Shape", [inputs[name]], axis) for name in ("attention_mask", "input_ids")]
    made = [*sizes, onnx_ir.node("Sub", [size.outputs[0] for size in sizes])]
    for number, node in enumerate(made):
        node.name = node.outputs[0].name = f"length_of_cache_{number}"
    model.graph.insert_before(model.graph[0], made)
    for node in lengths:
        onnx_ir.convenience.replace_all_uses_with(node.outputs[0], made[-1].outputs[0])
        model.graph.remove(node, safe=True)
    model.metadata_props[IN_PLACE] = " ".join(cache.name for cache in caches)


def _known_by_its_length(cache: Any) -> bool:
    """Whether nothing but the operator takes this input of a graph, and what asks for its length."""
    length = {"start": 2, "end": 3}
    return cache.is_graph_input() and all(
        user.op_type == "GroupQueryAttention"
        or (user.op_type == "Shape" and {name: one.value for name, one in user.attributes.items()} == length)
        for user, _ in cache.uses()
    )
