"""Exports for one length of text, where a model's code has to know the length while it is traced.

Loops over tokens, or over chunks of them, are written out as often as the traced text has any: such an export is right
for that length alone (Funnel, MiniMax, Qwen3.5). Here it is the longest that tasks ask for. The graph itself fills
shorter texts up to it and cuts its answers, so that it takes any text up to there, each at the cost of the longest.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optibench.tasks.base import LONGEST
from optibench.values import Model


def length_for(model: Model) -> int:
    """The tokens that every text is filled up to in such an export of the model."""
    return min(model.max_length or LONGEST, LONGEST)


def note(length: int) -> str:
    """What a report says of such a build."""
    return (
        f"its graph has one length: texts are filled up to {length} tokens in it, so that shorter ones cost as much, "
        "because the model's code counts tokens while it is exported"
    )


@contextmanager
def filled_up(module: Any, inputs: Mapping[str, Any], length: int) -> Iterator[None]:
    """While it lasts, the module's forward takes texts of up to ``length`` tokens, fills them up on the right and cuts
    what it answers along those axes that follow the text. ``inputs``: texts of another length, which show these axes.

    Where a text is longer, the graph ends with the runtime's error: the filling has a negative size.
    """
    import torch

    from optibench.checkpoint import named_outputs

    forward, padding = module.forward, getattr(module.config.get_text_config(), "pad_token_id", None) or 0
    shown = inputs["input_ids"].shape[1]
    with torch.no_grad():
        shapes = {name: tuple(value.shape) for name, value in named_outputs(forward(**inputs)).items()}

    def filled(**given: Any) -> Any:
        rows, tokens = given["input_ids"].shape
        torch._check(tokens <= length)
        wide = dict(given)
        for name, value in given.items():
            if isinstance(value, torch.Tensor) and value.ndim > 1:
                more = (rows, length - tokens, *value.shape[2:])
                wide[name] = torch.cat([value, value.new_full(more, padding if name == "input_ids" else 0)], dim=1)
        answer = forward(**wide)
        for name, value in named_outputs(answer).items():
            for axis, size in enumerate(shapes.get(name, ())):
                if size == shown and value.shape[axis] == length:
                    value = value.narrow(axis, 0, tokens)
            answer[name] = value
        return answer

    filled.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]  # what exporters ask for its inputs
    module.forward = filled
    try:
        yield
    finally:
        module.forward = forward
