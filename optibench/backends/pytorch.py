"""PyTorch eager, as transformers loads the model: the reference in fp32."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import missing
from optibench.errors import Unsupported
from optibench.host import last_level_cache_bytes
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "transformers"
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
EXTRA = ""
RUNTIME = ("torch",)

PRODUCT_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
LONGEST_PRODUCT_SECONDS = 0.1
DTYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def probe(target: Target) -> str | None:
    """PyTorch runs on processors and NVIDIA GPUs."""
    if target.device not in ("cpu", "cuda"):
        return f"pytorch is not driven on the device {target.device}; use openvino there"
    return missing("torch", "all") or missing("transformers", "all")


def recipe(build: Build) -> dict[str, Any] | None:
    """Nothing is built: the checkpoint is what is run."""
    return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """The checkpoint itself."""
    if build.model.is_graph:
        raise Unsupported("pytorch runs Hugging Face checkpoints; this model was given as a finished graph")
    if build.precision == "tf32" and build.target.device != "cuda":
        raise Unsupported("tf32 exists on NVIDIA GPUs only")
    folder = Path(build.model.path)
    weights = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
    return Artifact(
        format=FORMAT,
        path=str(folder),
        sha256=build.model.ref.weights_sha256,
        bytes=sum(file.stat().st_size for file in weights),
    )


class PyTorchSession:
    """A loaded model; ``call`` waits for the device."""

    def __init__(self, model: Any, device: str, precision: str) -> None:
        self.model = model
        self.device = device
        self.precision = precision

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> dict[str, Any]:
        from optibench.checkpoint import accepted

        made = {name: tensor.to(self.device) for name, tensor in accepted(self.model, inputs).items()}
        # Pictures and sounds come in float32: a model in half precision takes them in its own, as a server would.
        dtype = next(self.model.parameters()).dtype
        return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in made.items()}

    def call(self, inputs: dict[str, Any]) -> Any:
        outputs = self.model(**inputs)
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
        import torch

        names = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
        # Matrix weights are what is multiplied: the modules that hold a parameter of two or more axes.
        operations: dict[str, int] = {}
        for module in self.model.modules():
            weight = getattr(module, "weight", None)
            if isinstance(module, torch.nn.Linear | torch.nn.modules.conv._ConvNd) and weight is not None:
                name = names.get(str(weight.dtype), str(weight.dtype))
                operations[name] = operations.get(name, 0) + 1
        first = names.get(str(next(self.model.parameters()).dtype), "other")
        precision = max(operations, key=lambda n: operations[n]) if operations else first
        return Executed(
            provider=f"PyTorch eager, {self.device}",
            precision=self.precision if self.precision == "tf32" else precision,
            threads=torch.get_num_threads(),
            operations=operations,
            detail={"attention": str(getattr(self.model.config, "_attn_implementation", None))},
        )


class TorchGauge:
    """``step`` does ``amount`` operations, or moves as many bytes."""

    def __init__(self, step: Callable[[], Any], amount: int, device: str, how: str, cache_bytes: int | None) -> None:
        self.step = step
        self.amount = amount
        self.device = device
        self.detail = {"how": how, "cache_bytes": cache_bytes}

    def call(self, feed: Any) -> None:
        self.step()
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()


def gauge(limit: str, target: Target, threads: int) -> TorchGauge:
    """A copy for "memory", else a square matrix product in the precision named, of the size that goes fastest."""
    import torch

    device = "cuda" if target.device == "cuda" else "cpu"
    torch.set_num_threads(threads)
    if limit == "memory":
        return _copy(device)
    if limit not in (*DTYPES, "int8") or (limit == "tf32" and device != "cuda"):
        raise Unsupported(f"PyTorch has no matrix product in {limit} here")
    torch.backends.cuda.matmul.allow_tf32 = limit == "tf32"
    best: tuple[float, TorchGauge] | None = None
    for size in PRODUCT_SIZES[device]:
        product = _product(limit, device, size)
        seconds = _shortest(product)
        if best is None or seconds / product.amount < best[0]:
            best = seconds / product.amount, product
        if seconds > LONGEST_PRODUCT_SECONDS:
            break  # no larger one: this precision is emulated here, and a burst must stay short
    assert best is not None, "there is at least one size"
    return best[1]


def _product(limit: str, device: str, size: int) -> TorchGauge:
    import torch

    if limit == "int8":
        a, b = (torch.randint(-127, 127, (size, size), dtype=torch.int8, device=device) for _ in range(2))
        step, name = (lambda: torch._int_mm(a, b)), "torch._int_mm"
    else:
        dtype = getattr(torch, DTYPES[limit])
        a, b = (torch.rand(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty(size, size, dtype=dtype, device=device)
        step, name = (lambda: torch.mm(a, b, out=out)), "torch.mm"
    return TorchGauge(step, 2 * size**3, device, f"{name} {limit} of {size} × {size}", None)


def _shortest(gauge: TorchGauge) -> float:
    """Seconds of the shortest of a few calls, the first one excepted."""
    gauge.call(None)
    times: list[float] = []
    while sum(times) < 0.02:
        start = time.perf_counter()
        gauge.call(None)
        times.append(time.perf_counter() - start)
    return min(times)


def _copy(device: str) -> TorchGauge:
    """Four times what the last cache holds, at least 128 MB, read once and written once."""
    import torch

    cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else last_level_cache_bytes()
    source = torch.ones(max(128_000_000, 4 * (cache or 0)), dtype=torch.uint8, device=device)
    copy = torch.empty_like(source)
    how = f"a copy of {source.numel() / 1e6:.0f} MB by torch"
    return TorchGauge(lambda: copy.copy_(source), 2 * source.numel(), device, how, cache)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[PyTorchSession]:
    """Loads the checkpoint in the case's precision. fp32 is true fp32: tf32 stays off unless it is asked for."""
    import torch

    from optibench.checkpoint import load

    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = job.case.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = job.case.precision == "tf32"
    device = "cuda" if job.target.device == "cuda" else "cpu"
    model = load(job.model, DTYPES[job.case.precision]).to(device)
    with torch.inference_mode():
        yield PyTorchSession(model, device, job.case.precision)
