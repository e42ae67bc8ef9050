"""PyTorch eager, as transformers loads the model: the reference in fp32. Integers and fp8 are torchao's."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import encoder_decoder
from optibench.backends.base import missing
from optibench.errors import Unsupported
from optibench.host import last_level_cache_bytes
from optibench.torch_session import DTYPES, QUANTIZERS
from optibench.values import Artifact, Build, Job, Target

if TYPE_CHECKING:
    from optibench.cache import Cache
    from optibench.torch_session import PyTorchSession

FORMAT = "transformers"
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8-dynamic", "int8-weights", "fp8")
GENERATES = ("fp32", "bf16")
EXTRA = ""
RUNTIME = ("torch",)

PRODUCT_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}
LONGEST_PRODUCT_SECONDS = 0.1
ON_GPU_ALONE = ("tf32", "fp8")


def probe(target: Target) -> str | None:
    """PyTorch runs on processors and NVIDIA GPUs."""
    if target.device not in ("cpu", "cuda"):
        return f"pytorch is not driven on the device {target.device}; use openvino there"
    if reason := missing("torch", "all") or missing("transformers", "all"):
        return reason
    if target.device == "cuda" and not _has_cuda():
        return "torch is installed in a build for processors; install one for CUDA (pytorch.org, Get Started)"
    return None


def _has_cuda() -> bool:
    """Whether this is a build of torch for CUDA; it is not imported."""
    spec = importlib.util.find_spec("torch")
    return bool(spec and spec.origin and (Path(spec.origin).parent / "lib" / "libtorch_cuda.so").is_file())


def recipe(build: Build) -> dict[str, Any] | None:
    """Nothing is built: the checkpoint is what is run."""
    return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """The checkpoint itself."""
    if build.model.is_graph:
        raise Unsupported("pytorch runs Hugging Face checkpoints; this model was given as a finished graph")
    if build.precision in ON_GPU_ALONE and build.target.device != "cuda":
        raise Unsupported(f"{build.precision} exists on NVIDIA GPUs only")
    if build.precision in QUANTIZERS and (reason := missing("torchao", "torchao")):
        raise Unsupported(reason)
    folder = Path(build.model.path)
    weights = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
    return Artifact(
        format=FORMAT,
        path=str(folder),
        sha256=build.model.ref.weights_sha256,
        bytes=sum(file.stat().st_size for file in weights),
    )


class TorchGauge:
    """``step`` does ``amount`` operations, or moves as many bytes."""

    def __init__(self, step: Callable[[], Any], amount: int, device: str, how: str, cache_bytes: int | None) -> None:
        self.step = step
        self.amount = amount
        self.device = device
        self.detail: dict[str, Any] = {"how": how, "cache_bytes": cache_bytes}
        if device == "cpu":
            import torch

            self.detail["threads"] = torch.get_num_threads()  # all of which work, if nothing else does

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
    """Loads the checkpoint in the case's precision."""
    import torch

    from optibench.torch_decoder import PyTorchDecoder
    from optibench.torch_encoder_decoder import PyTorchEncoderDecoder
    from optibench.torch_session import PyTorchSession, loaded

    generative = PyTorchEncoderDecoder if encoder_decoder.is_one(job.model) else PyTorchDecoder
    with torch.inference_mode():
        yield (generative if job.generates else PyTorchSession)(loaded(job), job.target.device, job.case.precision)
