"""How many multiply-adds one call of a model needs: counted on its graph, exactly, or not at all.

Counted are matrix products, convolutions, recurrent layers and attention; what works element by element is not. A graph
that holds an operator whose arithmetic is not known is Uncountable, since a count that misses some of it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.arrays import batches_of
from optibench.decoding import WANTED
from optibench.encoder_decoder import encoder_watched
from optibench.errors import Uncountable
from optibench.generation_rules import PROMPT
from optibench.host import package_versions
from optibench.values import Model, Shape

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

HEAVY = {
    *("mm", "bmm", "addmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "vdot", "matmul", "linear", "cdist"),
    *("rnn", "lstm", "gru", "attention", "convolution", "conv1d", "conv2d", "conv3d"),
}
"""Words in the names of PyTorch's operators that multiply matrices: one that its counter does not know is not passed
over. What such an operator is made of is counted where PyTorch takes it apart."""


def recipe(model: Model, shapes: Sequence[Shape]) -> dict[str, Any]:
    """All that decides the count: the cache key."""
    return {
        "kind": "arithmetic",
        "version": 1,
        "model": model.ref.revision,
        "task": model.ref.task,
        "shapes": [f"{shape.name}{shape.new_tokens or ''}" for shape in shapes],
        "tools": package_versions(("torch", "transformers", "onnxruntime", "openvino")),
    }


def count(model: Model, inputs: Path, shapes: Sequence[Shape]) -> dict[str, Any]:
    """``multiply_adds`` of one call by the shape's name, and ``weights``: how many numbers of the model are multiplied
    by (None for a finished graph, where it is not known). ``inputs`` is the folder with the shapes' arrays.
    """
    found: dict[str, int] = {}
    weights: int | None = None
    for shape in shapes:
        arrays = next(batches_of(inputs / f"shape-{shape.size}.npz"))
        if model.is_graph:
            from optibench.operators import multiply_adds_of_onnx, multiply_adds_of_openvino

            of_graph = multiply_adds_of_openvino if model.ref.source == "openvino" else multiply_adds_of_onnx
            found[shape.name] = of_graph(Path(model.path), arrays)
        else:
            from optibench.checkpoint import accepted
            from optibench.export import torch_model

            module = torch_model(model)
            taken = accepted(module, arrays)
            if shape.phase:
                taken = _of_generation(module, taken, shape)
            found[shape.name], weights = multiply_adds_of_module(module, taken)
    return {"multiply_adds": found, "weights": weights}


def _of_generation(module: Any, prompt: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """The inputs of what is timed: the prompt, of which the last logits are wanted; or the token in the middle of those
    that follow it, with the cache of all before."""
    import inspect

    import torch

    if module.config.is_encoder_decoder:
        return _of_encoder_decoder(module, prompt, shape)
    last = {WANTED: 1} if WANTED in inspect.signature(module.forward).parameters else {}
    if shape.phase == "prefill":
        return {**prompt, **last}
    before = shape.length + shape.new_tokens // 2
    ids = prompt["input_ids"].repeat(1, before // shape.length + 1)[:, :before]
    with torch.no_grad():
        cache = module(input_ids=ids, use_cache=True, **last).past_key_values
    return {"input_ids": ids[:, -1:], "past_key_values": cache, **last}


def _of_encoder_decoder(module: Any, inputs: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """The same of a model with an encoder, whose text grows on the decoder's side alone."""
    import torch

    if shape.phase == "prefill":
        return inputs
    first = inputs[PROMPT]
    tokens = first.repeat(1, shape.new_tokens // 2 + 1)[:, : first.shape[1] + shape.new_tokens // 2]
    with torch.no_grad(), encoder_watched(module) as seen:
        known = module(**{**inputs, PROMPT: tokens}, use_cache=True)
    mask = {"attention_mask": inputs["attention_mask"]} if "attention_mask" in inputs else {}
    return {PROMPT: tokens[:, -1:], "past_key_values": known.past_key_values, "encoder_outputs": seen[0], **mask}


def multiply_adds_of_module(module: Any, inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Multiply-adds of ``module(**inputs)``, and how many of its weights they multiply by. One real call on the CPU:
    models look at their inputs' values, which tensors without content do not have."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count

    def of_attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        operations: int = sdpa_flop_count(query, key, value)
        return operations

    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    known = {*flop_registry, fused}
    weights = {parameter.untyped_storage()._cdata: parameter.numel() for parameter in module.parameters()}
    multiplied: set[int] = set()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
        """Sees every operator that the counter, which lies within, hands on."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            packet = func._overloadpacket
            if packet in known:
                tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
                multiplied.update({t.untyped_storage()._cdata for t in tensors} & weights.keys())
            elif func.namespace not in ("aten", "prim", "prims") or HEAVY & set(re.split("_+", packet.__name__)):
                raise Uncountable(f"the arithmetic of PyTorch's operator {packet} is not known")
            return func(*args, **(kwargs or {}))

    with Watch(), FlopCounterMode(display=False, custom_mapping={fused: of_attention}) as counter, torch.no_grad():
        module(**inputs)
    return counter.get_total_flops() // 2, sum(weights[storage] for storage in multiplied)
