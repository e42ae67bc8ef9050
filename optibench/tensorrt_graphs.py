"""The ONNX files that TensorRT's engines are built of: strongly typed, so the file decides every tensor's precision.

Half precision is written into them (floats.py). Quantization is explicit Q/DQ, symmetric throughout, at the weights and
inputs of matrix products (and, in int8, of convolutions), where TensorRT fuses it; the rest is fp16. int4 is weights
alone, in blocks. Why the recipes are what they are: docs/quantization.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import modelopt_driver
from optibench.errors import Unsupported
from optibench.export import tensors
from optibench.floats import narrowed
from optibench.qdq import folded_transposes, positive_scales

if TYPE_CHECKING:
    import numpy
    import onnx_ir as ir

    Arrays = Mapping[str, numpy.ndarray]

BLOCKS = (128, 64)
"""The blocks of int4 weights that TensorRT takes (its documentation, "Quantization Schemes"), the preferred first."""
OPSET = 21
"""The first in which DequantizeLinear has blocks and 4 bits; 8-bit floats are two older."""

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # By form and precision, what decides the content: a change here is another artifact.
    ("tensorrt", "fp16"): {"by": "floats.narrowed", "v": 1},
    ("tensorrt", "bf16"): {"by": "floats.narrowed", "v": 1},
    ("tensorrt", "int8"): {"by": "nncf smoothquant, transformer, symmetric", "rest": "fp16", "v": 1},
    ("tensorrt", "fp8"): {"by": "nncf fp8_e4m3, transformer, matrix products", "rest": "fp16", "v": 1},
    ("tensorrt", "int4-weights"): {"by": "nncf int4_sym, scale estimation", "blocks": BLOCKS, "rest": "fp16", "v": 1},
    ("modelopt", "int8"): {"by": "modelopt int8", "settings": modelopt_driver.SETTINGS, "rest": "fp16", "v": 1},
    ("modelopt", "fp8"): {"by": "modelopt fp8", "settings": modelopt_driver.SETTINGS, "rest": "fp16", "v": 1},
}


def write(source: Path, out: Path, precision: str, samples: Sequence[Arrays], python: Path | None = None) -> None:
    """Writes the graph of ``source`` to ``out`` in the precision. ``python``: that of modelopt's environment, which
    then places the Q/DQ instead of NNCF. Raises Unsupported where nothing in the graph can be had in that precision."""
    import onnx_ir
    from transformers.exporters import OnnxExporter

    half = precision if precision in ("fp16", "bf16") else "fp16"
    if half == precision:
        model = onnx_ir.load(source)
    elif python:
        model = modelopt_driver.quantized(source, precision, samples, python)
    else:
        model = _by_nncf(folded_transposes(onnx_ir.load(source)), precision, samples)
    if half != precision and all(node.op_type != "DequantizeLinear" for node in model.graph):
        raise Unsupported(f"nothing in this model can be {precision}: {_WANTED[precision]}")
    OnnxExporter.save_program(narrowed(model, half), out)


_WANTED = {
    "int8": "it has no matrix product or convolution",
    "fp8": "it has no matrix product with a weight",
    "int4-weights": f"it has no matrix product whose weight's rows are a multiple of {min(BLOCKS)}",
}


def _by_nncf(model: ir.Model, precision: str, samples: Sequence[Arrays]) -> ir.Model:
    import nncf
    from transformers.exporters import NNCFOnnxQuantizer, NNCFQuantizationConfig, NNCFWeightCompressionConfig
    from transformers.exporters.configs import ExportFormat

    config: Any
    if precision == "int8":
        config = NNCFQuantizationConfig(
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric activations: TensorRT knows no zero point
            ignored_scope=nncf.IgnoredScope(types=["Gather"], validate=False),
        )
    elif precision == "fp8":
        config = NNCFQuantizationConfig(
            mode=nncf.QuantizationMode.FP8_E4M3,
            subset_size=len(samples),
            # TensorRT-RTX multiplies matrices in fp8, and convolves in half precision alone.
            ignored_scope=nncf.IgnoredScope(types=["Gather", "Conv", "ConvTranspose"], validate=False),
        )
    else:
        config = NNCFWeightCompressionConfig(
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=max(BLOCKS),
            scale_estimation=True,
            backup_mode=nncf.BackupMode.NONE,  # what no block divides, embeddings and convolutions stay as they are
            subset_size=min(32, len(samples)),
            advanced_parameters=nncf.AdvancedCompressionParameters(
                group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST, min_adjusted_group_size=min(BLOCKS)
            ),
        )
    if precision != "int8":
        model = _in_opset(model, OPSET)
    quantizer = NNCFOnnxQuantizer(config, [*map(tensors, samples)])
    return positive_scales(quantizer.quantize(model, tensors(samples[0]), ExportFormat.ONNX))


def _in_opset(model: ir.Model, least: int) -> ir.Model:
    """The model in an opset that is no older. Raises Unsupported for an operator that cannot be converted."""
    from onnxscript import version_converter

    if model.opset_imports.get("", least) < least:
        version_converter.convert_version(model, least)
    if model.opset_imports.get("", least) < least:
        raise Unsupported(f"the graph's opset {model.opset_imports['']} cannot be converted to {least}")
    return model
