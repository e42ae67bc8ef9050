"""ExecuTorch with XNNPACK, PyTorch's runtime for small devices, as a backend of optibench (docs/add-a-backend.md).

Exported by transformers. fp32 alone: quantized by PyTorch's own quantizer for XNNPACK (PT2E), the export loses that its
inputs' free axes are the same, and takes neither a batch of one nor long texts.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import main_precision
from optibench.errors import CaseFailed, Unsupported, first_line
from optibench.host import package_versions
from optibench.values import Artifact, Build, BuildTimes, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "pte"
PRECISIONS = ("fp32",)
EXTRA = ""  # of optibench's own: this distribution brings what it needs
RUNTIME = ("executorch",)

TOOLS = ("torch", "transformers", "executorch")
HEAVY = ("XNNFullyConnected", "XNNBatchMatrixMultiply", "XNNConv2d", "XNNDepthwiseConv2d", "XNNConvTranspose2d")
OUTSIDE = ("aten::mm", "aten::bmm", "aten::addmm", "aten::linear", "aten::convolution")
"""Products that XNNPACK did not take: ExecuTorch's portable kernels compute them in fp32."""
KINDS = {"xnn_datatype_fp32": "fp32", "xnn_datatype_fp16": "fp16"}


def probe(target: Target) -> str | None:
    """It runs on processors."""
    if target.device != "cpu":
        return f"executorch (XNNPACK) runs on processors, not on the device {target.device}"
    if importlib.util.find_spec("executorch") is None:
        return "executorch is not installed: pip install 'executorch>=1.5'"
    return None


def recipe(build: Build) -> dict[str, Any] | None:
    """All that decides the file. The samples decide which axes are free."""
    if build.model.is_graph:
        return None  # nothing can be built; prepare says why
    return {
        "kind": "executorch",
        "version": 1,
        "model": build.model.ref.revision,
        "weights": build.model.ref.weights_sha256,
        "task": build.model.ref.task,
        "samples": build.calibration_sha256,
        "tools": package_versions(TOOLS),
    }


def prepare(build: Build, cache: Cache) -> Artifact:
    """The program, from the cache if it is there."""
    own_recipe = recipe(build)
    if own_recipe is None:
        raise Unsupported("executorch is built from a checkpoint; this model was given as a finished graph")
    cached = cache.get(own_recipe)
    entry = cached or cache.get_or_make("executorch", own_recipe, lambda folder: _export(build, folder))
    return Artifact(
        format=FORMAT,
        path=str(cache.path(entry.key) / "model.pte"),
        sha256=entry.sha256,
        bytes=entry.bytes,
        recipe=own_recipe,
        tools=own_recipe["tools"],
        build_seconds=BuildTimes(export=entry.facts["seconds"], cached=cached is not None),
    )


def _export(build: Build, folder: Path) -> dict[str, Any]:
    """Writes model.pte and the order of its inputs, and runs it once on another shape than it was traced with."""
    import torch

    from optibench import export, tracing
    from optibench.checkpoint import accepted

    start = time.perf_counter()
    samples = export.samples_of(build)
    model = export.torch_model(build.model)
    traced = accepted(model, tracing.batch(samples, rows=2))
    try:
        from transformers.exporters import ExecutorchConfig, ExecutorchExporter

        config = ExecutorchConfig(
            backend="xnnpack",
            dynamic=True,
            dynamic_shapes=tracing.free_axes(samples, traced),
        )
        with torch.no_grad():
            ExecutorchExporter().export(model, dict(traced), config).save_pretrained(folder)
    except ImportError as error:
        raise Unsupported(f"{error.name} is not installed: pip install 'executorch>=1.5'") from error
    except Exception as error:  # tracing runs the model's code and the exporter's: anything can come out
        raise CaseFailed(f"ExecuTorch cannot export this model: {first_line(error)}") from error
    (folder / "inputs.json").write_text(json.dumps(list(traced)))
    export.check_second_shape(build, FORMAT, folder, run_file)
    return {"seconds": time.perf_counter() - start}


def run_file(path: Path, inputs: Mapping[str, numpy.ndarray]) -> list[numpy.ndarray]:
    """One run of a file, for the check of a second shape."""
    opened = ExecutorchSession(path)
    return list(opened.arrays(opened.call(opened.feed(inputs))).values())


class ExecutorchSession:
    """A loaded program."""

    def __init__(self, path: Path) -> None:
        from executorch.runtime import Runtime

        self.path = path
        self.names: list[str] = json.loads((path.parent / "inputs.json").read_text())
        self.program = Runtime.get().load_program(path)
        self.method = self.program.load_method("forward")

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> list[Any]:
        import torch

        return [torch.as_tensor(inputs[name]).contiguous() for name in self.names]

    def call(self, inputs: list[Any]) -> Any:
        return self.method.execute(inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return {f"output_{number}": tensor.numpy() for number, tensor in enumerate(outputs)}

    def executed(self, inputs: Any) -> Executed:
        """Counted in the file, which is run as it stands: XNNPACK's parts, and the kernels between them."""
        from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count

        operations, kernels, parts = operations_of(self.path)
        return Executed(
            provider="ExecuTorch XNNPACK",
            precision=main_precision(operations),
            threads=_threadpool_get_thread_count(),
            operations=operations,
            detail={"xnnpack_parts": parts, "portable_kernels": kernels},
        )


def operations_of(path: Path) -> tuple[dict[str, int], int, int]:
    """Of a program: its large products by the precision that they take in, the kernels outside XNNPACK, and the parts
    within it."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    program = deserialize_pte_binary(path.read_bytes()).program
    plan = program.execution_plan[0]
    operations: dict[str, int] = {}
    calls = [one.instr_args for chain in plan.chains for one in chain.instructions]
    names = [plan.operators[call.op_index].name for call in calls if type(call).__name__ == "KernelCall"]
    for delegate in plan.delegates:
        graph = _graph_of(bytes(program.backend_delegate_data[delegate.processed.index].data))
        kinds = {value["id_out"]: value["datatype"] for value in map(_value_of, graph["xvalues"])}
        for node in graph["xnodes"]:
            if node["xnode_union_type"].lstrip("_") in HEAVY:
                taken = node["xnode_union"].get("input1_id", 0)
                name = KINDS.get(kinds.get(taken, ""), "int8")
                operations[name] = operations.get(name, 0) + 1
    if outside := sum(name in OUTSIDE for name in names):
        operations["fp32"] = operations.get("fp32", 0) + outside
    return operations, len(names), len(plan.delegates)


def _graph_of(payload: bytes) -> dict[str, Any]:
    """XNNPACK's graph in a part of a program, by ExecuTorch's own schema of it."""
    import executorch.backends.xnnpack.serialization as schemas
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    with tempfile.TemporaryDirectory() as folder:
        (schema,) = (Path(place) / "runtime_schema.fbs" for place in list(schemas.__path__)[:1])
        (Path(folder) / "graph.bin").write_bytes(payload[header.flatbuffer_offset :][: header.flatbuffer_size])
        _flatc_decompile(folder, str(schema), str(Path(folder) / "graph.bin"), ["--raw-binary"])
        found: dict[str, Any] = json.loads((Path(folder) / "graph.json").read_text())
        return found


def _value_of(value: dict[str, Any]) -> dict[str, Any]:
    """A value's description: that of a quantized one lies one level deeper."""
    inner: dict[str, Any] = value["xvalue_union"]
    return inner.get("tensor_value", inner)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[ExecutorchSession]:
    """Loads the program, with the case's threads."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    _unsafe_reset_threadpool(job.threads)
    yield ExecutorchSession(Path(artifact.path))
