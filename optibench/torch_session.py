"""A transformers model opened by PyTorch, eager or compiled, in the case's precision: what is measured.

Weights are floats of one kind, or quantized by torchao. ``call`` waits for the device.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.backends.base import main_precision
from optibench.errors import CaseFailed, Unsupported, first_line
from optibench.nvidia.device import DEVICE_CALLS
from optibench.values import Executed, Job, Shape

if TYPE_CHECKING:
    import numpy

DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}
NAMES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "int8": "int8", "float8_e4m3fn": "fp8"}
QUANTIZERS = {
    # torchao's configuration of each: symmetric, a scale a row of the weight and a token.
    "int8-dynamic": "Int8DynamicActivationInt8WeightConfig",
    "int8-weights": "Int8WeightOnlyConfig",
    "fp8": "Float8DynamicActivationFloat8WeightConfig",
}
OLDEST_CAPABILITY = {"tf32": (8, 0), "fp8": (8, 9)}


def loaded(job: Job) -> Any:
    """The checkpoint on the target's device. fp32 is true fp32: tf32 stays off unless it is asked for."""
    import torch

    from optibench.checkpoint import load

    precision, device = job.case.precision, job.target.device
    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    rest = _kind_of_card(precision) if device == "cuda" else "float32"
    dtype = DTYPES.get(precision, rest)
    model = load(job.model, dtype).to(device)
    if precision in QUANTIZERS:
        quantize(model, precision)
    return model


def _kind_of_card(precision: str) -> str:
    """The kind that the GPU multiplies beside what is quantized. Makes CUDA's context, so that what is wrong with it
    is told as such; raises Unsupported where the card lacks the precision."""
    import torch

    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:
        raise CaseFailed(f"PyTorch cannot use CUDA: {first_line(str(error))}") from error
    capability = torch.cuda.get_device_capability()
    if capability < OLDEST_CAPABILITY.get(precision, (0, 0)):
        raise Unsupported(f"cards of compute capability {capability[0]}.{capability[1]} have no {precision}")
    return "bfloat16" if capability >= (8, 0) else "float16"


def quantize(model: Any, precision: str) -> None:
    """Quantizes the weights of the model's Linear modules in place, by torchao."""
    from torchao import quantization
    from torchao.utils import should_reduce_range

    make_linear(model)
    # Sums of int8 products overflow on processors without VNNI, unless seven bits are used.
    ranges = {"reduce_range": should_reduce_range(model.device)} if precision == "int8-dynamic" else {}
    quantization.quantize_(model, getattr(quantization, QUANTIZERS[precision])(**ranges))


def make_linear(model: Any) -> None:
    """Makes Linear modules of those of transformers' own class for the same (GPT-2 and its kin keep their weights
    transposed): torchao takes no others, and would leave such a model as it is without a word."""
    import torch
    from transformers.pytorch_utils import Conv1D

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv1D):
                linear = torch.nn.Linear(child.nx, child.nf, device="meta")
                linear.weight = torch.nn.Parameter(child.weight.detach().T.contiguous(), requires_grad=False)
                linear.bias = child.bias
                parent.add_module(name, linear)


class PyTorchSession:
    """A loaded model, run as it is."""

    title = "PyTorch eager"

    def __init__(self, model: Any, device: str, precision: str) -> None:
        self.model = model
        self.device = device
        self.precision = precision

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> tuple[Callable[..., Any], dict[str, Any]]:
        from optibench.checkpoint import accepted

        made = {name: tensor.to(self.device) for name, tensor in accepted(self.model, inputs).items()}
        # Pictures and sounds come in float32: a model in half precision takes them in its own, as a server would.
        dtype = next(self.model.parameters()).dtype
        tensors = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in made.items()}
        return self.runner(tensors), tensors

    def runner(self, tensors: Mapping[str, Any]) -> Callable[..., Any]:
        """What runs these inputs."""
        run: Callable[..., Any] = self.model
        return run

    def call(self, feed: tuple[Callable[..., Any], dict[str, Any]]) -> Any:
        run, tensors = feed
        outputs = run(**tensors)
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        return outputs

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        from optibench.checkpoint import named_outputs

        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
            for name, tensor in named_outputs(outputs).items()
        }

    def executed(self, inputs: Any) -> Executed:
        """By the weights that are multiplied: those of Linear modules and convolutions. Beside them, on a GPU, the
        device's own time of a call."""
        import torch

        operations: dict[str, int] = {}
        for module in self.model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd):
                name = self._as_asked(precision_of(module.weight))
                operations[name] = operations.get(name, 0) + 1
        first = precision_of(next(self.model.parameters()))
        return Executed(
            provider=f"{self.title}, {self.device}",
            precision=main_precision(operations) if operations else self._as_asked(first),
            threads=torch.get_num_threads(),
            operations=operations,
            detail={
                "attention": str(getattr(self.model.config, "_attn_implementation", None)),
                **(self.on_device(inputs) if self.device == "cuda" else {}),
            },
        )

    def on_device(self, feed: Any) -> dict[str, Any]:
        """What the device itself tells of a call; of a generation nothing, whose calls are made of several."""
        run, tensors = feed
        return {"device_seconds": device_seconds(lambda: run(**tensors))}

    def _as_asked(self, name: str) -> str:
        """fp32 weights are multiplied in tf32 where that is switched on."""
        return "tf32" if (name, self.precision) == ("fp32", "tf32") else name


class CompiledSession(PyTorchSession):
    """The model compiled by TorchInductor: for each shape that is timed on its own, as a deployment of that shape
    would be (on a GPU with CUDA graphs), and once for any other shape, which the evaluation has many of."""

    title = "torch.compile"

    def __init__(self, model: Any, device: str, precision: str, shapes: Sequence[Shape], mode: str | None) -> None:
        import torch
        from torch._inductor import config

        super().__init__(model, device, precision)
        self.shapes = shapes
        config.compile_threads = 1  # its pool of processes would stay beside the measurement
        self.exact = torch.compile(
            model, dynamic=False, mode=mode, recompile_limit=len(shapes) + 1, isolate_recompiles=True
        )
        self.any = torch.compile(model, dynamic=True, isolate_recompiles=True)

    def runner(self, tensors: Mapping[str, Any]) -> Callable[..., Any]:
        size = next(iter(tensors.values())).shape
        timed = any(size[0] == shape.batch and shape.length in (0, *size[1:2]) for shape in self.shapes)
        run: Callable[..., Any] = self.exact if timed else self.any
        return run

    def call(self, feed: tuple[Callable[..., Any], dict[str, Any]]) -> Any:
        from torch._dynamo.exc import BackendCompilerFailed

        try:
            return super().call(feed)
        except BackendCompilerFailed as error:
            raise CaseFailed(f"torch.compile cannot compile this model: {first_line(str(error))}") from error

    def executed(self, inputs: Any) -> Executed:
        """As eager, with how much was compiled: what breaks a graph is run as before between two of them."""
        import msgspec
        from torch._dynamo.utils import counters

        found = super().executed(inputs)
        detail = {
            **found.detail,
            "compiled_graphs": counters["stats"]["unique_graphs"],
            "graph_breaks": sum(counters["graph_break"].values()),
            "cuda_graphs_skipped": counters["inductor"]["cudagraph_skips"],
        }
        if not detail["compiled_graphs"]:
            raise CaseFailed("torch.compile compiled nothing of this model, so that it would be eager PyTorch's time")
        return msgspec.structs.replace(found, detail=detail)


def device_seconds(call: Callable[[], Any]) -> float:
    """What the device takes for a call, by CUDA events around it on the current stream, where PyTorch puts its kernels
    and launches its graphs. Gaps in which the device waits for the next kernel's launch count."""
    import torch

    found = []
    for _ in range(DEVICE_CALLS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1e3)
    return float(statistics.median(found))


def precision_of(weight: Any) -> str:
    """What products with this weight run in, by the kinds of the tensors that it consists of."""
    kinds = {str(tensor.dtype).removeprefix("torch.") for tensor in leaves(weight)}
    small = next((kind for kind in ("int8", "float8_e4m3fn") if kind in kinds), None)
    if small is None:
        kind = str(weight.dtype).removeprefix("torch.")
        return NAMES.get(kind, kind)
    return NAMES[small] if getattr(weight, "act_quant_kwargs", None) is not None else "weights"


def leaves(tensor: Any) -> Iterator[Any]:
    """The plain tensors that a tensor consists of: itself, unless it is of a class that holds others."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        yield from leaves(getattr(tensor, name))
