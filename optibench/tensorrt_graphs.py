"""The ONNX files that TensorRT's engines are built of: strongly typed, so the file decides every tensor's precision.

Half precision is written into them (floats.py). Quantization is explicit Q/DQ, symmetric throughout, at the weights and
inputs of matrix products (and, in int8, of convolutions), where TensorRT fuses it; the rest is fp16. int4 is weights
alone, in blocks. Why the recipes are what they are: docs/quantization.md.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import modelopt_driver
from optibench.errors import Unsupported
from optibench.export import tensors

if TYPE_CHECKING:
    import numpy
    import onnx_ir

    Arrays = Mapping[str, numpy.ndarray]

BLOCKS = (128, 64)
"""The blocks of int4 weights that TensorRT takes (its documentation, "Quantization Schemes"), the preferred first."""
OPSET = 21
"""The first in which DequantizeLinear has blocks and 4 bits; 8-bit floats are two older."""

ALPHAS = (-1.0, 0.5, 0.95)
"""How much of an activation's range SmoothQuant may move into the weights: nothing, half, nearly all. Which keeps most
hangs on the model: outlier channels want much of it, and without them it only spoils the weights."""
HELD_OUT = 4
"""One in so many calibration samples is not calibrated on, and tells how far a quantized graph's answers are from the
original's: on those that are, the most smoothing always looks best."""

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # By form and precision, what decides the content: a change here is another artifact.
    ("tensorrt", "fp16"): {"by": "floats.narrowed", "v": 1},
    ("tensorrt", "bf16"): {"by": "floats.narrowed", "v": 1},
    ("tensorrt", "int8"): {"by": "nncf smoothquant, symmetric", "best of": ALPHAS, "rest": "fp16", "v": 2},
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

    from optibench.floats import narrowed

    half = precision if precision in ("fp16", "bf16") else "fp16"
    if half == precision:
        model = onnx_ir.load(source)
    elif python:
        model = modelopt_driver.quantized(source, precision, samples, python)
    elif precision == "int8":
        model = _smoothed_best(source, samples)
    else:
        model = _by_nncf(source, precision, samples)
    if half != precision and all(node.op_type != "DequantizeLinear" for node in model.graph):
        raise Unsupported(f"nothing in this model can be {precision}: {_WANTED[precision]}")
    OnnxExporter.save_program(narrowed(model, half), out)


_WANTED = {
    "int8": "it has no matrix product or convolution",
    "fp8": "it has no matrix product with a weight",
    "int4-weights": f"it has no matrix product whose weight's rows are a multiple of {min(BLOCKS)}",
}


def _smoothed_best(source: Path, samples: Sequence[Arrays]) -> onnx_ir.Model:
    """The int8 graph by that of ALPHAS whose answers to samples that were held out are nearest to the original's."""
    import onnx_ir

    judged = samples[::HELD_OUT]
    calibrating = [sample for number, sample in enumerate(samples) if number % HELD_OUT] or samples
    wanted = _answers(source, judged)
    models = [_by_nncf(source, "int8", calibrating, alpha) for alpha in ALPHAS]
    errors = []
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            onnx_ir.save(model, file, external_data="model.onnx.data")
            errors.append(_error(_answers(file, judged), wanted))
    found = dict(zip(ALPHAS, errors, strict=True))
    print("SmoothQuant's alphas and their errors:", found, file=sys.stderr)  # noqa: T201 (into the builder's log)
    return models[errors.index(min(errors))]


def _answers(file: Path, samples: Sequence[Arrays]) -> list[numpy.ndarray]:
    """The graph's floating-point outputs for each sample, by ONNX Runtime on the CPU."""
    import numpy as np
    import onnxruntime
    from transformers.exporters.utils import onnx_feed

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    outputs = [output for sample in samples for output in session.run(None, onnx_feed(names, tensors(sample)))]
    return [output for output in outputs if np.issubdtype(output.dtype, np.floating)]


def _error(found: Sequence[numpy.ndarray], wanted: Sequence[numpy.ndarray]) -> float:
    """The mean, over outputs, of the squared error over the squared answer; what is infinite on purpose is left out."""
    import numpy as np

    def one(mine: numpy.ndarray, theirs: numpy.ndarray) -> float:
        told = np.isfinite(theirs)
        mine, theirs = mine[told].astype(float), theirs[told].astype(float)
        error = float(((mine - theirs) ** 2).sum() / max((theirs**2).sum(), 1e-30))
        return error if np.isfinite(error) else np.inf

    return float(np.mean([one(mine, theirs) for mine, theirs in zip(found, wanted, strict=True)]))


def _by_nncf(source: Path, precision: str, samples: Sequence[Arrays], alpha: float = -1.0) -> onnx_ir.Model:
    import nncf
    import onnx_ir
    from transformers.exporters import NNCFOnnxQuantizer, NNCFQuantizationConfig, NNCFWeightCompressionConfig
    from transformers.exporters.configs import ExportFormat

    from optibench.qdq import folded_transposes, positive_scales

    config: Any
    if precision == "int8":
        config = NNCFQuantizationConfig(
            subset_size=len(samples),
            preset=nncf.QuantizationPreset.PERFORMANCE,  # symmetric activations: TensorRT knows no zero point
            ignored_scope=nncf.IgnoredScope(types=["Gather"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=alpha)
            ),
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
    model = folded_transposes(onnx_ir.load(source))
    if precision != "int8":
        model = _in_opset(model, OPSET)
    quantizer = NNCFOnnxQuantizer(config, [*map(tensors, samples)])
    return positive_scales(quantizer.quantize(model, tensors(samples[0]), ExportFormat.ONNX))


def _in_opset(model: onnx_ir.Model, least: int) -> onnx_ir.Model:
    """The model in an opset that is no older. Raises Unsupported for an operator that cannot be converted."""
    from onnxscript import version_converter

    if model.opset_imports.get("", least) < least:
        version_converter.convert_version(model, least)
    if model.opset_imports.get("", least) < least:
        raise Unsupported(f"the graph's opset {model.opset_imports['']} cannot be converted to {least}")
    return model
