"""PyTorch eager, as transformers loads the model: the reference in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import missing
from optibench.errors import Unsupported
from optibench.values import Artifact, Build, Executed, Job, Target

if TYPE_CHECKING:
    import numpy

    from optibench.cache import Cache

FORMAT = "transformers"
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
EXTRA = ""
RUNTIME = ("torch",)

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

        return {name: tensor.to(self.device) for name, tensor in accepted(self.model, inputs).items()}

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
