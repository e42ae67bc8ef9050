"""OpenVINO: the exported graph, or the same graph quantized by NNCF, on Intel's and other processors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import encoder_decoder, own_precision
from optibench.backends.base import Session, Writing, generates, main_precision, missing
from optibench.errors import CaseFailed, Unsupported
from optibench.static_shapes import OPTION, StaticShapes
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "openvino"
PRECISIONS = (
    *("fp32", "bf16", "fp16", "int8", "int8-weights", "int4-weights"),
    *("int4-awq-weights", "int4-gptq-weights"),
)
GENERATES = ("fp32", "bf16", "int8-weights", "int4-weights")
DATA_AWARE = ("int4-awq-weights", "int4-gptq-weights")
EXTRA = "openvino"
RUNTIME = ("openvino",)

DEVICES = {"cpu": "CPU", "intel-gpu": "GPU", "intel-npu": "NPU"}
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "u8": "int8", "i8": "int8", "u4": "int4", "i4": "int4"}
HEAVY = (
    "FullyConnected",
    "MatMul",
    "Convolution",
    "GroupConvolution",
    "RNNSeq",
    "RNNCell",
    "ScaledDotProductAttention",
)


def probe(target: Target) -> str | None:
    """It runs on processors of any maker, and on Intel's GPUs and NPUs."""
    if target.device not in DEVICES:
        return f"openvino has no device {target.device}"
    return missing("openvino", EXTRA) or missing("nncf", EXTRA)


def recipe(build: Build) -> dict[str, Any] | None:
    """The export's key (one graph serves every floating-point precision), or that of its quantized form."""
    from optibench import quantize

    if build.model.is_graph and build.precision in (*HINTS, own_precision.of(build.model)):
        return None
    if build.precision in HINTS:
        from optibench.export import recipe as export_recipe

        return export_recipe(build, FORMAT)
    return quantize.recipe(build, _form(build))


def prepare(build: Build, cache: Cache) -> Artifact:
    """The export, or its quantized form, from the cache if it is there. An .onnx file is read as it is."""
    from optibench import quantize

    if generates(build):
        if build.precision == "int8":
            raise Unsupported("openvino generates text with floats or with integers as weights alone, not in int8")
        return quantize.artifact(build, _form(build), cache, run_decoder)
    if build.precision in DATA_AWARE:
        raise Unsupported(f"{build.precision} is for tasks that generate text; int4-weights is for others")
    return quantize.artifact(build, _form(build), cache, run_file)


def _form(build: Build) -> str:
    return "openvino-decoder" if generates(build) else FORMAT


def run_file(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """One run of a file on the CPU in true fp32, for the check of a second shape."""
    opened = OpenVINOSession(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return list(opened.arrays(opened.call(opened.feed(inputs))).values())


def run_decoder(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """The same of a decoder: the logits after a prompt and after each token that follows."""
    from optibench.decoders import followed

    return followed(_decoder(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}), inputs)


def _decoder(path: Path, device: str, settings: Mapping[str, Any]) -> Any:
    """The decoder's graph, with the encoder's where one lies beside it."""
    from optibench import encoder_decoder

    if encoder_decoder.is_part(path):
        from optibench.openvino_encoder_decoder import OpenVINOEncoderDecoder

        return OpenVINOEncoderDecoder(path, device, settings)
    from optibench.openvino_decoder import OpenVINODecoder

    return OpenVINODecoder(path, device, settings)


class OpenVINOSession:
    """A compiled graph with one request."""

    def __init__(
        self,
        path: Path,
        device: str,
        settings: Mapping[str, Any],
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        import openvino

        self.device = device
        core = openvino.Core()
        model = core.read_model(path)
        if shapes:
            model = in_shapes(model, shapes)
        # As the file has them: what is compiled may bear names of inner tensors beside.
        self.outputs = [_name_of(port, number) for number, port in enumerate(model.outputs)]
        self.compiled = core.compile_model(model, device, dict(settings))
        self.request = self.compiled.create_infer_request()
        self.inputs = {name: port for port in self.compiled.inputs for name in port.get_names()}
        self.stateful = bool(self.request.query_state())

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        import numpy as np

        from optibench.backends.onnxruntime import zeros_for

        lacking = [port.get_any_name() for port in self.compiled.inputs if not port.get_names() & set(inputs)]
        made = {name: zeros_for(name, inputs) for name in lacking}
        return {
            name: np.asarray(array, dtype=self.inputs[name].get_element_type().to_dtype(), order="C")
            for name, array in (*inputs.items(), *made.items())
            if name in self.inputs
        }

    def call(self, inputs: dict[str, numpy.ndarray]) -> Any:
        if self.stateful:  # each call begins anew: else the work, and the answer, would hang on how many were before
            self.request.reset_state()
        return self.request.infer(inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return dict(zip(self.outputs, outputs.to_tuple(), strict=True))

    def executed(self, inputs: Any) -> Executed:
        """Counted on the runtime's own graph. Compressed weights show there as integers although the product is
        floating point: then the other side's element type tells."""
        operations: dict[str, int] = {}
        for node in self.compiled.get_runtime_model().get_ops():
            info = node.get_rt_info()
            if "layerType" not in info or info["layerType"].astype(str) not in HEAVY:
                continue
            name = NAMES.get(info["runtimePrecision"].astype(str), "other")
            if name.startswith("int") or name == "fp16":  # as files keep their weights by default
                name = NAMES.get(node.input(0).get_element_type().get_type_name(), "other")
            operations[name] = operations.get(name, 0) + 1
        return Executed(
            provider=f"OpenVINO {self.compiled.get_property('EXECUTION_DEVICES')[0]}",
            precision=main_precision(operations),
            threads=int(self.compiled.get_property("INFERENCE_NUM_THREADS")) if self.device == "CPU" else 0,
            operations=operations,
        )


def in_shapes(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The graph with its inputs in these shapes, and no axis of an input or output left free. Error: one is."""
    sizes = {name: list(shape) for name, shape in shapes.items()}
    for port in model.inputs:  # what ``feed`` makes itself is of the ids' shape
        if not port.get_names() & set(sizes) and "input_ids" in shapes:
            sizes[port.get_any_name()] = list(shapes["input_ids"])
    model.reshape(sizes)
    if free := [port for port in (*model.inputs, *model.outputs) if port.get_partial_shape().is_dynamic]:
        name, shape = min(free[0].get_names(), default="output"), free[0].get_partial_shape()
        raise CaseFailed(
            f"{name!r} is {shape} whatever the inputs' shapes, and this device compiles fixed shapes alone"
        )
    return model


def _name_of(port: Any, number: int) -> str:
    """The name of an output, of several one that is no mere number."""
    return min(port.get_names(), key=lambda name: (name.isdigit(), name), default=f"output_{number}")


def settings_for(precision: str) -> dict[str, Any]:
    """The compile properties that make OpenVINO run what the label says."""
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        # Left alone, a processor with bf16 runs a "float32" model in bf16. Quantized graphs keep their float rest true.
        "INFERENCE_PRECISION_HINT": HINTS.get(precision, "f32"),
    }
    if precision.endswith("-weights"):
        # By default weight-only graphs quantize their activations while running: another precision than asked.
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = 0
    return settings


def usage(file: str, precision: str) -> tuple[str, str]:
    """The import and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    return "import openvino", (
        f'model = openvino.Core().compile_model(here / "{file}", "CPU", {settings_for(precision)!r})\n'
        "wanted = {name for port in model.inputs for name in port.get_names()}\n"
        "outputs = model({name: array for name, array in inputs.items() if name in wanted})\n"
        "print([output.shape for output in outputs.to_tuple()])"
    )


def writing(file: str, precision: str) -> Writing:
    """For an artifact's README: what writes text with ``file``, and the encoder's graph where it is the decoder's."""
    opening = f"""core, settings = openvino.Core(), {_generating_settings(precision)!r}
# Keys and values of all tokens before are kept in the request.
request = core.compile_model(here / "{file}", "CPU", settings).create_infer_request()
names = {{name for port in request.model_inputs for name in port.get_names()}}"""
    if encoder := encoder_decoder.encoder_of(file):
        opening += f"""
encoder = core.compile_model(here / "{encoder}", "CPU", settings)
encoded = encoder({{port.get_any_name(): inputs[port.get_any_name()] for port in encoder.inputs}})
known = {{**inputs, **{{name: array for port, array in encoded.items() for name in port.get_names()}}}}"""
    call = """given["beam_idx"] = numpy.zeros(1, "int32")  # of several texts it would say whose past each one takes
logits = request.infer({name: array for name, array in given.items() if name in names})["logits"]"""
    return Writing("import openvino", opening, call)


def _generating_settings(precision: str) -> dict[str, Any]:
    """By default keys and values are kept in 8 bits: another precision than the case is labelled with."""
    return {**settings_for(precision), "KV_CACHE_PRECISION": HINTS.get(precision, "f32")}


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[Session]:
    """Compiles the graph for one request at a time, in the precision that the case is labelled with."""
    import openvino

    precision = job.case.precision
    options = dict(job.target.options.get("openvino", {}))
    device = options.pop("device", DEVICES[job.target.device])
    if precision in ("bf16", "fp16"):
        able = openvino.Core().get_property(device, "OPTIMIZATION_CAPABILITIES")
        if precision.upper() not in able:
            raise Unsupported(f"this {device} computes no {precision} (it has {', '.join(able)})")
    settings = settings_for(precision)
    if device == "CPU":
        settings["INFERENCE_NUM_THREADS"] = job.threads
    static = options.pop(OPTION, False)
    if job.generates:
        yield _decoder(Path(artifact.path), device, {**settings, **_generating_settings(precision), **options})
    elif static:
        yield _static(Path(artifact.path), device, {**settings, **options}, job)
    else:
        yield OpenVINOSession(Path(artifact.path), device, {**settings, **options})


def _static(path: Path, device: str, settings: dict[str, Any], job: Job) -> StaticShapes:
    """A compilation a shape, for devices that take no other (Intel's NPUs)."""
    import openvino

    model = openvino.Core().read_model(path)
    free = {
        _name_of(port, number): [axis for axis, size in enumerate(port.get_partial_shape()) if size.is_dynamic]
        for number, port in enumerate(model.outputs)
    }
    names = [name for port in model.inputs for name in port.get_names()]
    return StaticShapes(lambda shapes: OpenVINOSession(path, device, settings, shapes), names, free, job)
