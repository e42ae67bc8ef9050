"""What an engine executes, read from its inspector's JSON (NVIDIA's documentation, "Engine Inspector")."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from optibench.backends.base import main_precision
from optibench.values import Executed

HEAVY = re.compile(r"conv|gemm|matmul|matrixmultiply|fullyconnected|mha|attention", re.IGNORECASE)
"""Layer types that multiply: TensorRT's own, and those of its compiler's kernels (gemm, conv, fused attention)."""
TYPES = {
    # What "Format/Datatype" is called in one version or another. The narrowest input decides: Q/DQ is fused into it.
    "int8": re.compile(r"\bint8\b", re.IGNORECASE),
    "fp8": re.compile(r"\bfp8\b|float8", re.IGNORECASE),
    "fp16": re.compile(r"\b(fp16|half)\b", re.IGNORECASE),
    "bf16": re.compile(r"\b(bf16|bfloat16)\b", re.IGNORECASE),
    "fp32": re.compile(r"\b(fp32|float)\b", re.IGNORECASE),
}


def executed_from_json(text: str, provider: str, detail: dict[str, Any]) -> Executed:
    """Counts the layers that multiply by the precision of what they take in."""
    layers = [layer for layer in _layers(text) if isinstance(layer, dict)]  # names alone tell nothing
    operations: dict[str, int] = {}
    for layer in layers:
        if HEAVY.search(str(layer.get("LayerType", ""))):
            name = precision_of(layer)
            operations[name] = operations.get(name, 0) + 1
    return Executed(
        provider=provider,
        precision=main_precision(operations),
        threads=0,
        operations=operations,
        detail={**detail, "layers": len(layers)},
    )


def _layers(text: str) -> list[Any]:
    try:
        found = msgspec.json.decode(text).get("Layers", [])
    except (msgspec.DecodeError, AttributeError):
        return []
    return found if isinstance(found, list) else []


def precision_of(layer: dict[str, Any]) -> str:
    """fp32, tf32, fp16, ... of one layer; "other" if its inputs do not say."""
    said = " ".join(
        str(value)
        for tensor in layer.get("Inputs", [])
        if isinstance(tensor, dict)
        for key, value in tensor.items()
        if key.startswith(("Format", "Datatype"))
    )
    name = next((name for name, pattern in TYPES.items() if pattern.search(said)), "other")
    if name == "fp32" and "tf32" in str(layer.get("TacticName", "")).lower():
        return "tf32"
    return name
