"""ONNX Runtime: the exported graph, or the same graph quantized by onnxruntime.quantization or NNCF."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import main_precision, missing
from optibench.errors import CaseFailed, Unsupported
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "onnx"
PRECISIONS = ("fp32", "int8", "int8-dynamic", "int8-weights", "int4-weights")
EXTRA = "onnxruntime"
RUNTIME = ("onnxruntime",)

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
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


def probe(target: Target) -> str | None:
    """It runs on processors, and on NVIDIA GPUs where a GPU build of the wheel is installed."""
    if target.device not in PROVIDERS:
        return f"onnxruntime is not driven on the device {target.device}; use openvino there"
    return missing("onnxruntime", EXTRA) or missing("onnxscript", EXTRA)


def recipe(build: Build) -> dict[str, Any] | None:
    """The export's key, or that of its quantized form."""
    from optibench import quantize

    if build.model.ref.source == "openvino":
        return None  # nothing can be built; prepare says why
    if build.precision == "fp32":
        from optibench.export import recipe as export_recipe

        return None if build.model.is_graph else export_recipe(build, FORMAT)
    return quantize.recipe(build, FORMAT)


def prepare(build: Build, cache: Cache) -> Artifact:
    """The export, or its quantized form, from the cache if it is there."""
    from optibench import quantize

    if build.model.ref.source == "openvino":
        raise Unsupported("onnxruntime cannot run an OpenVINO file; use the backend openvino")
    return quantize.artifact(build, FORMAT, cache, run_file)


def run_file(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """One run of a file on the CPU, for the check of a second shape."""
    opened = ONNXRuntimeSession(path, "cpu", threads=0)
    return list(opened.arrays(opened.call(opened.feed(inputs))).values())


class ONNXRuntimeSession:
    """An opened graph."""

    def __init__(self, path: Path, device: str, threads: int, options: Mapping[str, Any] | None = None) -> None:
        import onnxruntime

        self.path = path
        self.provider = PROVIDERS[device]
        self.threads = threads
        self.options = options or {}
        self.session = onnxruntime.InferenceSession(path, self._settings(), providers=[self.provider])
        if self.provider not in self.session.get_providers():
            raise CaseFailed(
                f"onnxruntime did not load {self.provider} and would run on the CPU in silence. "
                "Install the GPU build of onnxruntime that fits this CUDA."
            )
        self.outputs = [output.name for output in self.session.get_outputs()]
        self.inputs = {i.name: i for i in self.session.get_inputs()}

    def _settings(self) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = self.threads
        settings.log_severity_level = 3  # errors only: what it would warn of (fallbacks) is counted in ``executed``
        for key, value in self.options.items():
            settings.add_session_config_entry(key, str(value))
        return settings

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        import numpy as np

        kinds = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
        lacking = [name for name in self.inputs if name not in inputs]
        made = {name: zeros_for(name, inputs) for name in lacking}
        return {
            name: np.ascontiguousarray(array, dtype=kinds.get(self.inputs[name].type, array.dtype))
            for name, array in (*inputs.items(), *made.items())
            if name in self.inputs
        }

    def call(self, inputs: dict[str, numpy.ndarray]) -> Any:
        return self.session.run(None, inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return dict(zip(self.outputs, outputs, strict=True))

    def executed(self, inputs: Any) -> Executed:
        """Read off the profile of one run, in a session of its own: fusion changes the graph after providers are
        assigned, so only what ran shows whether integers were multiplied."""
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            settings = self._settings()
            settings.enable_profiling = True
            settings.profile_file_prefix = str(Path(folder) / "profile")
            session = onnxruntime.InferenceSession(self.path, settings, providers=[self.provider])
            session.run(None, inputs)
            events = json.loads(Path(session.end_profiling()).read_text())
        return executed_from_profile(events, self.provider, self.threads)


def executed_from_profile(events: list[dict[str, Any]], provider: str, threads: int) -> Executed:
    """What ran, by the kernels' names and the types of what they took in."""
    kernels = [e["args"] for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    operations: dict[str, int] = {}
    for kernel in kernels:
        name = QUANTIZED.get(kernel["op_name"])
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
def session(artifact: Artifact, job: Job) -> Iterator[ONNXRuntimeSession]:
    """Opens the graph with the case's threads, on the target's provider alone."""
    options = job.target.options.get("onnxruntime", {})
    yield ONNXRuntimeSession(Path(artifact.path), job.target.device, job.threads, options)


def usage(file: str, precision: str) -> tuple[str, str]:
    """The import and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    return "import onnxruntime", (
        f'session = onnxruntime.InferenceSession(here / "{file}", providers=["CPUExecutionProvider"])\n'
        "wanted = {i.name for i in session.get_inputs()}\n"
        "outputs = session.run(None, {name: array for name, array in inputs.items() if name in wanted})\n"
        "print([output.shape for output in outputs])"
    )
