"""ONNX Runtime: the exported graph, or the same graph quantized by onnxruntime.quantization or NNCF.

On processors by its CPU provider; on NVIDIA GPUs by its CUDA provider (nvidia/bound.py), whose kernels multiply in
floating point: half precision is written into the file (floats.py), weights alone may be integers. On Apple's and
Qualcomm's devices by the providers for them (accelerators.py).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import encoder_decoder, own_precision
from optibench.backends.base import Session, Writing, generates, main_precision, missing
from optibench.errors import CaseFailed, Unsupported
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "onnx"
PRECISIONS = ("fp32", "tf32", "fp16", "int8", "int8-dynamic", "int8-weights", "int4-weights")
GENERATES = ("fp32", "int8-dynamic", "int4-weights")
EXTRA = "onnxruntime"
RUNTIME = ("onnxruntime", "onnxruntime-gpu")

PROVIDER = "CPUExecutionProvider"
QUANTIZED = {
    # Kernel -> precision it computes in. Names from ONNX Runtime's operator list (docs/ContribOperators.md).
    "DynamicQuantizeMatMul": "int8",
    "MatMulIntegerToFloat": "int8",
    "MatMulInteger": "int8",
    "ConvInteger": "int8",
    "QLinearMatMul": "int8",
    "QLinearConv": "int8",
    "QGemm": "int8",
    "QAttention": "int8",
    "DynamicQuantizeLSTM": "int8",
    "MatMulNBits": "weights",
}
FLOATING = (
    *("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose"),
    *("Attention", "MultiHeadAttention", "LSTM", "GRU"),
)
TYPES = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16", "double": "fp64"}
ON_GPU_ALONE = {
    "tf32": "tf32 exists on NVIDIA GPUs only",
    "fp16": "ONNX Runtime's CPU provider runs most of a half-precision graph in fp32, between casts",
}
NO_INTEGERS = "ONNX Runtime's CUDA provider multiplies no integers; onnxruntime-tensorrt and tensorrt do"
ON_CPU_ALONE = {"int8": NO_INTEGERS, "int8-dynamic": NO_INTEGERS}


def probe(target: Target) -> str | None:
    """It runs on processors; on NVIDIA's, Apple's and Qualcomm's devices where a build with their provider is there."""
    if target.device == "cuda":
        from optibench.nvidia import providers

        return providers.absent(providers.CUDA, target)
    from optibench import accelerators

    if target.device in accelerators.PROVIDERS:
        return accelerators.absent(target.device) or missing("onnxscript", EXTRA)
    if target.device != "cpu":
        return f"onnxruntime is not driven on the device {target.device}; use openvino there"
    return missing("onnxruntime", EXTRA) or missing("onnxscript", EXTRA)


def recipe(build: Build) -> dict[str, Any] | None:
    """The export's key, or that of its quantized form."""
    from optibench import quantize

    if build.model.ref.source == "openvino" or _refused(build):
        return None  # nothing can be built; prepare says why
    if build.model.is_graph and build.precision in ("fp32", "tf32", own_precision.of(build.model)):
        return None
    if build.precision in ("fp32", "tf32"):
        from optibench.export import recipe as export_recipe

        return export_recipe(build, FORMAT)
    return quantize.recipe(build, _form(build))


def prepare(build: Build, cache: Cache) -> Artifact:
    """The export, or its quantized form, from the cache if it is there."""
    from optibench import quantize

    if build.model.ref.source == "openvino":
        raise Unsupported("onnxruntime cannot run an OpenVINO file; use the backend openvino")
    if reason := _refused(build):
        raise Unsupported(reason)
    if build.precision == "tf32":
        from optibench.backends.tensorrt import refuse_older
        from optibench.nvidia.card import card

        refuse_older(card(build.device).compute_capability, build.precision)
    return quantize.artifact(build, _form(build), cache, run_decoder if generates(build) else run_file)


def _refused(build: Build) -> str | None:
    """Why this device's provider does not run the precision."""
    if generates(build):
        if build.target.device != "cpu":
            elsewhere = "; on NVIDIA GPUs pytorch does" if build.target.device == "cuda" else ""
            return f"onnxruntime generates text on processors only{elsewhere}"
        if build.precision not in (able := (*GENERATES, "int8-weights")):
            return f"onnxruntime generates text in {', '.join(able)}: decoding is slow for reading weights"
    refused = {"cuda": ON_CPU_ALONE, "cpu": ON_GPU_ALONE}.get(build.target.device, {"tf32": ON_GPU_ALONE["tf32"]})
    return refused.get(build.precision)


def _form(build: Build) -> str:
    """Half precision is written as TensorRT takes it, and int8 while running is another thing for a decoder: ranges of
    whole tensors would cost it half its accuracy."""
    if build.precision == "int8-dynamic" and generates(build):
        return "onnx-decoder"
    return "tensorrt" if build.precision == "fp16" else FORMAT


def run_file(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """One run of a file on the CPU, for the check of a second shape."""
    opened = ONNXRuntimeSession(path, threads=0)
    return list(opened.arrays(opened.call(opened.feed(inputs))).values())


def run_decoder(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """The same of a decoder: the logits after a prompt and after each token that follows."""
    from optibench.decoders import followed

    return followed(_decoder(path, 0, {}), inputs)


def _decoder(path: Path, threads: int, options: Mapping[str, Any]) -> Any:
    """The decoder's graph, with the encoder's where one lies beside it."""
    from optibench import encoder_decoder

    if encoder_decoder.is_part(path):
        from optibench.onnx_encoder_decoder import ONNXEncoderDecoder

        return ONNXEncoderDecoder(path, threads, options)
    from optibench.onnx_decoder import ONNXDecoder

    return ONNXDecoder(path, threads, options)


class ONNXRuntimeSession:
    """A graph opened on the CPU provider."""

    def __init__(self, path: Path, threads: int, options: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self.threads = threads
        self.options = options or {}
        self.session = self._opened()
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.inputs = {i.name: i for i in self.session.get_inputs()}

    def _opened(self, profile: str = "") -> Any:
        return on_cpu(self.path, self._settings(), profile)

    def _settings(self) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.log_severity_level = 3  # errors only: what it would warn of (fallbacks) is counted in ``executed``
        for key, value in self.options.items():
            settings.add_session_config_entry(key, str(value))
        return settings

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        return fed(self.inputs, inputs)

    def call(self, inputs: dict[str, numpy.ndarray]) -> Any:
        return self.session.run(None, inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return tensors_of(dict(zip(self.outputs, outputs, strict=True)))

    def executed(self, inputs: Any) -> Executed:
        """Read off the profile of one run, in a session of its own: fusion changes the graph after providers are
        assigned, so only what ran shows whether integers were multiplied."""
        kernels = profiled(self._opened, inputs)
        return executed_from_profile(kernels, PROVIDER, self.threads)


def fed(declared: Mapping[str, Any], inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """The inputs that the graph declares, in its element types; those that are lacking are made (``zeros_for``)."""
    import numpy as np

    made = {name: zeros_for(name, inputs) for name in declared if name not in inputs}
    return {
        name: np.asarray(array, dtype=_kind_declared(declared[name].type, array), order="C")
        for name, array in (*inputs.items(), *made.items())
        if name in declared
    }


def _kind_declared(declared: str, array: numpy.ndarray) -> Any:
    """The element type that a graph takes this array in: floats stay floats, of the width that it declares."""
    import numpy as np

    whole = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    floats = {"tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64}
    return whole.get(declared) or (floats.get(declared) if array.dtype.kind == "f" else None) or array.dtype


def tensors_of(outputs: Mapping[str, Any]) -> dict[str, numpy.ndarray]:
    """The tensors of numbers among a graph's outputs: those of a sequence numbered, a sequence of maps (what converted
    scikit-learn classifiers give) as one table. Texts, and optional outputs that are not there, are left out."""
    import numpy as np

    found: dict[str, numpy.ndarray] = {}
    for name, value in outputs.items():
        if not isinstance(value, list):
            found[name] = np.asarray(value)
        elif value and isinstance(value[0], dict):
            found[name] = np.asarray([[*one.values()] for one in value])
        else:
            found |= {f"{name}.{number}": np.asarray(one) for number, one in enumerate(value)}
    return {name: array for name, array in found.items() if array.dtype.kind not in "OUS"}


def on_cpu(path: Path, settings: Any, profile: str = "") -> Any:
    """A session on the CPU provider alone; with its profile in a file that begins with ``profile``, if that is told."""
    import onnxruntime

    if profile:
        settings.enable_profiling, settings.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(path, settings, providers=[PROVIDER])


def profiled(opened: Callable[[str], Any], feed: Mapping[str, numpy.ndarray]) -> list[dict[str, Any]]:
    """Every kernel of one run of the session that ``opened(prefix)`` opens with its profile in a file that begins so:
    its ``name``, ``op_name``, ``provider``, types and shapes of what went in and out, and what precision the file says
    that such kernels compute in (``told``), where that is no matter of their name."""
    with tempfile.TemporaryDirectory() as folder:
        session = opened(str(Path(folder) / "profile"))
        session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text())
        told = session.get_modelmeta().custom_metadata_map
    end = "_kernel_time"
    return [
        {**event["args"], "name": event["name"].removesuffix(end), "told": told.get(event["args"]["op_name"])}
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(end)
    ]


def executed_from_profile(kernels: list[dict[str, Any]], provider: str, threads: int) -> Executed:
    """What ran, by the kernels' names and the types of what they took in."""
    operations: dict[str, int] = {}
    for kernel in kernels:
        name = kernel.get("told") or QUANTIZED.get(kernel["op_name"])
        if kernel["op_name"] in FLOATING:
            types = [kind for shaped in kernel.get("input_type_shape", []) for kind in shaped]
            name = next((TYPES[kind] for kind in types if kind in TYPES), "other")
        if name:
            operations[name] = operations.get(name, 0) + 1
    converting = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
    return Executed(
        provider=provider,
        precision=main_precision(operations),
        threads=threads,
        fallback_nodes=sum(kernel.get("provider") != provider for kernel in kernels),
        operations=operations,
        detail={"nodes": len(kernels), "quantize_nodes": sum(k["op_name"] in converting for k in kernels)},
    )


def zeros_for(name: str, inputs: Mapping[str, numpy.ndarray]) -> numpy.ndarray:
    """A graph's input that the tokenizer does not make, where its meaning is plain; else an error that names it."""
    import numpy as np

    if "input_ids" in inputs:
        ids = inputs["input_ids"]
        if "type" in name:
            return np.zeros_like(ids)
        if "position" in name:
            return np.broadcast_to(np.arange(ids.shape[1]), ids.shape).astype(ids.dtype)
        if "mask" in name:
            return np.ones_like(ids)
    raise CaseFailed(f"The graph has the input {name!r}, and none of {', '.join(inputs)} is it.")


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[Session]:
    """Opens the graph with the case's threads, on the provider of the target's device."""
    path, options = Path(artifact.path), job.target.options.get("onnxruntime", {})
    if job.target.device == "cuda":
        from optibench.nvidia import providers
        from optibench.nvidia.bound import BoundSession

        entries, told = providers.split_options(options)
        tf32 = {"use_tf32": "1" if job.case.precision == "tf32" else "0"}  # on by default: fp32 would not be fp32
        yield BoundSession(providers.CUDA, path, job.threads, entries, {**told, **tf32})
    elif job.generates:
        yield _decoder(path, job.threads, options)
    elif job.target.device != "cpu":
        from optibench import accelerators

        yield accelerators.session_on(accelerators.PROVIDERS[job.target.device], path, job)
    else:
        yield ONNXRuntimeSession(path, job.threads, options)


def usage(file: str, precision: str) -> tuple[str, str]:
    """The import and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    providers = '["CUDAExecutionProvider"]' if precision in ON_GPU_ALONE else '["CPUExecutionProvider"]'
    return "import onnxruntime", (
        f'session = onnxruntime.InferenceSession(here / "{file}", providers={providers})\n'
        "wanted = {i.name for i in session.get_inputs()}\n"
        "outputs = session.run(None, {name: array for name, array in inputs.items() if name in wanted})\n"
        "print([output.shape for output in outputs])"
    )


def writing(file: str, precision: str) -> Writing:
    """For an artifact's README: what writes text with ``file``, and the encoder's graph where it is the decoder's."""
    providers = f'providers=["{PROVIDER}"]'
    opening = f"""session = onnxruntime.InferenceSession(here / "{file}", {providers})
ports = {{port.name: port for port in session.get_inputs()}}
names = [port.name for port in session.get_outputs()]
# What was seen of the tokens before, at first of none: what a call gives as output.NAME the next takes as input.NAME.
kinds = {{"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(bool)": "bool"}}
past = {{
    name: numpy.zeros(
        [int(size) if str(size).isdigit() else int(axis == 0) for axis, size in enumerate(port.shape)], kinds[port.type]
    )
    for name, port in ports.items()
    if name.replace("input", "output", 1) in names
}}"""
    if encoder := encoder_decoder.encoder_of(file):
        opening = f"""encoder = onnxruntime.InferenceSession(here / "{encoder}", {providers})
encoded = encoder.run(None, {{port.name: inputs[port.name] for port in encoder.get_inputs()}})
known = {{**inputs, **dict(zip([port.name for port in encoder.get_outputs()], encoded))}}
{opening}"""
    call = """feed = {name: array for name, array in {**given, **past}.items() if name in ports}
outputs = dict(zip(names, session.run(None, feed)))
logits, past = outputs["logits"], {name: outputs[name.replace("input", "output", 1)] for name in past}"""
    return Writing("import onnxruntime", opening, call)
