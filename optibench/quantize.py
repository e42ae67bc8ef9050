"""From a graph to a quantized graph: which library, which settings, and the artifact that comes of it.

The recipes are rules over operators and ranges, never lists of models. What they were chosen by: docs/quantization.md.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import decoders, encoder_decoder, export, fixed_length, own_precision, tensorrt_graphs, tools, tracing
from optibench.cache import Cache, Entry
from optibench.errors import CaseFailed, OptibenchError, Unsupported, first_line
from optibench.host import package_versions
from optibench.inputs import BATCH
from optibench.openvino_graphs import computed_as_written
from optibench.values import FLOATING, Artifact, Build, BuildTimes
from optibench.weights import graph_files

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

CALIBRATED = ("int8", "fp8", "int4-weights", "int4-awq-weights", "int4-gptq-weights")
INT4_GROUP = 64

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    # What decides the content, in words and numbers: a change here is another artifact.
    ("onnx", "int8"): {
        "by": "nncf smoothquant, transformer",
        "activations": "uint8",
        "embeddings": "int8 rows",
        "v": 2,
    },
    ("onnx", "int8-dynamic"): {"by": "onnxruntime.quantize_dynamic", "weights": "int8 asymmetric per channel", "v": 2},
    ("onnx", "int8-weights"): {"by": "MatMulNBits", "bits": 8, "block": 128, "accuracy_level": 1, "v": 3},
    ("onnx", "int4-weights"): {"by": "MatMulNBits", "bits": 4, "block": 32, "accuracy_level": 1, "v": 3},
    ("onnx-decoder", "int8-dynamic"): {"by": "MatMulNBits", "bits": 8, "block": 32, "accuracy_level": 4, "v": 1},
    **tensorrt_graphs.RECIPES,
    **decoders.RECIPES,
    ("openvino", "int8"): {"by": "nncf smoothquant, transformer", "checked": "computed as written", "v": 3},
    ("openvino", "int8-weights"): {"by": "nncf compress_weights", "mode": "int8_asym", "v": 1},
    ("openvino", "int4-weights"): {
        "by": "nncf compress_weights",
        "mode": "int4_asym",
        "group": INT4_GROUP,
        "scale_estimation": True,
        "v": 1,
    },
}


def recipe(build: Build, form: str) -> dict[str, Any]:
    """All that decides an artifact of this form (onnx, onnx-decoder; tensorrt, modelopt: ONNX as TensorRT takes it;
    openvino, openvino-decoder): its key in the cache. What is run as it was exported has the export's."""
    if _as_exported(form, build.precision):
        return export.recipe(build, _file_format(form))
    return {
        "kind": "quantize",
        "form": form,
        "precision": build.precision,
        "how": RECIPES.get((form, build.precision)),
        "parent": export.recipe(build, _file_format(form)),
        "calibration": build.calibration_sha256 if _calibrated(form, build.precision) else None,
        "tools": _tools(form),
    }


def _calibrated(form: str, precision: str) -> bool:
    """Whether the data decide the artifact; a decoder's int4 weights are rounded without any."""
    return precision in CALIBRATED and (form, precision) != ("openvino-decoder", "int4-weights")


def _tools(form: str) -> dict[str, str]:
    if form in tools.TOOLS:  # whose versions are fixed, whether its environment is there or not
        return tools.TOOLS[form].versions
    return package_versions(("nncf", "openvino" if _file_format(form) == "openvino" else "onnxruntime"))


def _file_format(form: str) -> str:
    return "openvino" if form.startswith("openvino") else "onnx"


def _as_exported(form: str, precision: str) -> bool:
    return precision in FLOATING and (form, precision) not in RECIPES


def artifact(build: Build, form: str, cache: Cache, run: export.Run) -> Artifact:
    """The build's artifact in the form asked for, from the cache or built now."""
    exported, file_format = _as_exported(form, build.precision), _file_format(form)
    if build.model.is_graph and (exported or build.precision == own_precision.of(build.model)):
        return _given(build, file_format)
    own_recipe = recipe(build, form)
    cached = cache.get(own_recipe)
    if cached is None and build.model.is_graph:
        parent_file, parent = Path(build.model.path), None
    else:
        parent = export.exported(build, file_format, cache, run) if cached is None or exported else None
        parent_file = export.graph_file(cache.path(parent.key), file_format) if parent else Path()
    if exported:
        entry = parent
    else:
        python = tools.python_of(form, cache) if form in tools.TOOLS and cached is None else None
        entry = cached or cache.get_or_make(
            "quantize", own_recipe, lambda folder: _make(folder, build, form, parent_file, parent, run, python)
        )
    assert entry is not None, "a floating-point build is its export"
    facts = entry.facts
    return Artifact(
        format=file_format,
        path=str(export.graph_file(cache.path(entry.key), file_format)),
        sha256=entry.sha256,
        bytes=entry.bytes,
        parent_sha256=facts.get("parent_sha256"),
        longest=facts.get("longest"),
        notes=(fixed_length.note(facts["longest"]),) if facts.get("longest") else (),
        recipe=own_recipe,
        tools=own_recipe.get("tools", {}),
        build_seconds=BuildTimes(
            export=facts.get("export_seconds", facts.get("seconds", 0.0)),
            quantize=0.0 if exported else facts["seconds"],
            cached=cached is not None,
        ),
    )


def _given(build: Build, form: str) -> Artifact:
    """The user's own graph, as it is."""
    path = Path(build.model.path)
    if form == "openvino" and path.suffix == ".onnx":
        form = "onnx"  # OpenVINO reads it as it is
    return Artifact(
        format=form,
        path=str(path),
        sha256=build.model.ref.weights_sha256,
        bytes=sum(file.stat().st_size for file in graph_files(path)),
    )


def _make(
    folder: Path,
    build: Build,
    form: str,
    parent_file: Path,
    parent: Entry | None,
    run: export.Run,
    python: Path | None = None,
) -> dict[str, Any]:
    """Quantizes ``parent_file`` into ``folder``, keeps the manifest that makes it loadable, and tries it once.
    ``python`` is that of the tool's own environment, where the form asks for one."""
    start = time.perf_counter()
    samples = export.samples_of(build)
    try:
        if form in ("onnx", "onnx-decoder"):
            for source, name in encoder_decoder.files_of(parent_file, "model.onnx"):
                _quantize_onnx(source, folder / name, form, build.precision, samples)
        elif _file_format(form) == "openvino":
            for source, name in encoder_decoder.files_of(parent_file, "openvino_model.xml"):
                _quantize_openvino(source, folder / name, form, build.precision, samples)
        else:
            tensorrt_graphs.write(parent_file, folder / "model.onnx", build.precision, samples, python)
    except OptibenchError:
        raise
    except ImportError as error:
        raise export.not_installed(error, form) from error
    except Exception as error:  # quantizers rewrite any graph there is: anything can come out
        raise CaseFailed(f"This model cannot be quantized to {build.precision}: {first_line(error)}") from error
    if parent:
        for name in ("export.json", "config.json", "generation_config.json"):
            if (parent_file.parent / name).exists():
                shutil.copy(parent_file.parent / name, folder / name)
    if form in ("onnx", "onnx-decoder", "openvino") and build.precision in ("int8", "int8-dynamic"):
        made = export.graph_file(folder, _file_format(form))
        if own_precision.of_file(made) == "fp32":  # then it is the float graph, and no build of its own
            raise Unsupported(
                f"nothing in this graph can be quantized to {build.precision}: no product by fixed weights"
            )
    if build.precision != "bf16":  # ONNX Runtime's CPU provider has no bf16 kernels to try it with
        _try(build, _file_format(form), folder, run)
    return {
        "seconds": time.perf_counter() - start,
        "export_seconds": parent.facts["seconds"] if parent else 0.0,
        "parent_sha256": parent.sha256 if parent else build.model.ref.weights_sha256,
        "longest": parent.facts.get("longest") if parent else None,
    }


def _try(build: Build, form: str, folder: Path, run: export.Run) -> None:
    """A quantized graph must answer on another shape than it was calibrated on, with numbers."""
    import numpy as np

    batch = export.samples_of(build)[0] if build.model.is_graph else export.second_batch(build, export.SHORT_LENGTH)
    try:
        outputs = run(export.graph_file(folder, form), batch)
    except Exception as error:
        raise CaseFailed(f"The {build.precision} build does not run: {first_line(error)}") from error
    for number, output in enumerate(outputs):
        nothing = output.size == 0 and not build.model.is_graph  # a stranger's graph may find nothing in noise
        if nothing or (np.issubdtype(output.dtype, np.floating) and np.isnan(output).any()):
            raise CaseFailed(f"The {build.precision} build answers nothing, or NaN, in output {number}.")


# The recipes


def _quantize_onnx(source: Path, out: Path, form: str, precision: str, samples: Sequence[Arrays]) -> None:
    import onnx_ir
    from transformers.exporters import OnnxExporter
    from transformers.exporters.configs import ExportFormat

    from optibench.qdq import folded_transposes, int8_embeddings, unsigned_activations

    def quantized_by(channel: bool) -> Any:
        model = folded_transposes(onnx_ir.load(source))
        given = [_as_named(sample) for sample in samples]
        quantizer = _onnx_quantizer(form, precision, given, channel)
        return quantizer.quantize(model, export.tensors(given[0]), ExportFormat.ONNX)

    quantized = _by_channel_if_it_can(quantized_by)
    if precision == "int8":
        quantized = unsigned_activations(quantized)
    if (form, precision) != ("onnx", "int8-dynamic"):  # which quantizes embeddings by itself
        quantized = int8_embeddings(quantized)
    OnnxExporter.save_program(quantized, out)


def _as_named(sample: Arrays) -> dict[str, numpy.ndarray]:
    """Arrays as transformers' quantizers look for them: without "input.", which its own exporter puts before some names
    and PyTorch's older one made of names itself ("input.1")."""
    return {name.removeprefix("input."): array for name, array in sample.items()}


def _by_channel_if_it_can(quantized_by: Callable[[bool], Any]) -> Any:
    """NNCF gives the activations of a depthwise convolution a range a channel, and moves it up through transposes with
    the axis that it had behind them. Where that axis is as long as the sample, statistics of several samples cannot be
    stacked (ValueError); a range for the whole tensor has no axis."""
    try:
        return quantized_by(True)
    except ValueError:
        return quantized_by(False)


def _int8_settings(samples: Sequence[Arrays], channel: bool) -> dict[str, Any]:
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    whole = QuantizationParameters(per_channel=False)
    advanced = None if channel else nncf.AdvancedQuantizationParameters(activations_quantization_params=whole)
    return {"subset_size": len(samples), "advanced_parameters": advanced}


def _onnx_quantizer(form: str, precision: str, samples: Sequence[Arrays], channel: bool) -> Any:
    how = RECIPES.get((form, precision), {})
    if how.get("by") == "MatMulNBits":
        return _BlockWeights(how["bits"], how["block"], how["accuracy_level"])
    if precision == "int8-dynamic":
        from onnxruntime.quantization import QuantType
        from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

        # Per tensor keeps a cosine of .953 on MiniLM, per channel .992.
        return OnnxRuntimeQuantizer(
            OnnxRuntimeDynamicConfig(
                per_channel=True, weight_type=QuantType.QInt8, extra_options={"WeightSymmetric": False}
            )
        )
    if precision == "int8":
        import nncf
        from transformers.exporters import NNCFOnnxQuantizer, NNCFQuantizationConfig

        # SmoothQuant moves outliers from activations into weights; ONNX Runtime's own tools have none that keeps
        # the accuracy. Embeddings are left to int8_embeddings: NNCF's form converts the whole table at each call.
        config = NNCFQuantizationConfig(
            **_int8_settings(samples, channel), ignored_scope=nncf.IgnoredScope(types=["Gather"], validate=False)
        )
        return NNCFOnnxQuantizer(config, [*map(export.tensors, samples)])
    raise Unsupported(f"ONNX Runtime has no recipe for {precision}")


@dataclass(frozen=True)
class _BlockWeights:
    """MatMulNBits: weights in blocks, multiplied in fp32 (accuracy level 1), or by activations that are rounded to int8
    at each call with a scale for each block (4), which the file then says of itself."""

    bits: int
    block: int
    level: int

    def quantize(self, model: Any, sample_inputs: Any, export_format: Any) -> Any:
        import onnx_ir
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        from optibench.qdq import products_of_gemms

        onnx_ir.external_data.load_to_model(model)
        quantizer = MatMulNBitsQuantizer(
            onnx_ir.to_proto(products_of_gemms(model)),
            bits=self.bits,
            block_size=self.block,
            is_symmetric=False,
            accuracy_level=self.level,
        )
        quantizer.process()
        made = onnx_ir.from_proto(quantizer.model.model)
        if self.level == 4:
            made.metadata_props["MatMulNBits"] = "int8"
        return made


def _quantize_openvino(source: Path, out: Path, form: str, precision: str, samples: Sequence[Arrays]) -> None:
    import openvino
    from transformers.exporters.configs import ExportFormat

    model = openvino.Core().read_model(source)
    if (form, precision) in decoders.RECIPES:
        quantized = decoders.compressed(model, precision, samples)
    else:

        def quantized_by(channel: bool) -> Any:
            quantizer = _openvino_quantizer(precision, samples, channel)
            given = openvino.Core().read_model(source)
            return quantizer.quantize(given, export.tensors(samples[0]), ExportFormat.OPENVINO)

        quantized = _by_channel_if_it_can(quantized_by)
    if precision == "int8":
        computed_as_written(quantized, model, _batches(model, samples))
    openvino.save_model(quantized, out, compress_to_fp16=False)


def _batches(model: Any, samples: Sequence[Arrays]) -> list[Arrays]:
    """A sample, and several rows at once where the graph takes them: oneDNN takes other ways for more of them, and some
    are right for a few rows alone."""
    firsts = [port.get_partial_shape()[0] for port in model.inputs if len(port.get_partial_shape())]
    most = min((BATCH if axis.get_max_length() < 0 else axis.get_max_length() for axis in firsts), default=1)
    return [samples[0], *(tracing.batch(samples, rows) for rows in (4, BATCH) if rows <= most)]


def _openvino_quantizer(precision: str, samples: Sequence[Arrays], channel: bool) -> Any:
    import nncf
    from transformers.exporters import NNCFOpenVINOQuantizer, NNCFQuantizationConfig, NNCFWeightCompressionConfig

    if precision == "int8":
        config = NNCFQuantizationConfig(**_int8_settings(samples, channel))
        return NNCFOpenVINOQuantizer(config, [*map(export.tensors, samples)])
    if precision == "int8-weights":
        return NNCFOpenVINOQuantizer(NNCFWeightCompressionConfig(mode=nncf.CompressWeightsMode.INT8_ASYM))
    if precision == "int4-weights":
        shrink = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
        config = NNCFWeightCompressionConfig(
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=INT4_GROUP,
            scale_estimation=True,
            subset_size=min(32, len(samples)),
            advanced_parameters=shrink,  # a width that no group divides gets a smaller group, not an error
        )
        return NNCFOpenVINOQuantizer(config, [*map(export.tensors, samples)])
    raise Unsupported(f"OpenVINO has no recipe for {precision}")
