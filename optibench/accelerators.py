"""ONNX Runtime on what is neither a processor nor NVIDIA's: Apple's and Qualcomm's, by the providers for them.

Which provider serves a device, and a session on it. Unverified on hardware (docs/targets.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from optibench.backends.onnxruntime import ONNXRuntimeSession, executed_from_profile, profiled
from optibench.host import version_of
from optibench.nvidia import providers
from optibench.nvidia.providers import CPU, Provider
from optibench.static_shapes import OPTION, StaticShapes
from optibench.values import Executed, Job

PROVIDERS = {
    "apple": Provider(
        backend="onnxruntime",
        name="CoreMLExecutionProvider",
        package="onnxruntime",
        library="",
        install="pip install onnxruntime, on macOS, whose wheel has it",
        graphs="",
    ),
    "qualcomm-npu": Provider(
        backend="onnxruntime",
        name="QNNExecutionProvider",
        package="onnxruntime_qnn",
        library="libonnxruntime_providers_qnn.so",
        install="pip install onnxruntime-qnn",
        graphs="",
        plugin=True,
    ),
}
"""Device -> provider."""
WHEELS = {"qualcomm-npu": "onnxruntime-qnn"}
"""Device -> the distribution that has its provider, where that is not ONNX Runtime's own."""


def absent(device: str) -> str | None:
    """Why ONNX Runtime has no provider for the device here, and what to install; nothing is imported."""
    wheel = WHEELS.get(device, "onnxruntime")
    if version_of(wheel) is None:
        return f"{wheel} is not installed, which has {PROVIDERS[device].name}: {PROVIDERS[device].install}"
    return None


class ProviderSession(ONNXRuntimeSession):
    """A graph opened on a provider; what that does not take stays on the processor, and is counted."""

    def __init__(
        self,
        provider: Provider,
        path: Path,
        threads: int,
        options: Mapping[str, Any],
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        self.provider, self.sizes = provider, sizes or {}
        entries, self.told = providers.split_options(options)
        super().__init__(path, threads, entries)
        self.nodes = providers.nodes_by_provider(self.session)

    def _opened(self, profile: str = "") -> Any:
        settings = self._settings()
        for axis, size in self.sizes.items():
            settings.add_free_dimension_override_by_name(axis, size)
        if profile:
            settings.enable_profiling, settings.profile_file_prefix = True, profile
        return providers.opened(self.provider, self.path, settings, self.told)

    def executed(self, inputs: Any) -> Executed:
        """Nodes by the provider that each was given to. What a provider compiled is no kernel of ONNX Runtime's, and
        its precision is not told."""
        found = executed_from_profile(profiled(self._opened, inputs), self.provider.name, self.threads)
        elsewhere = self.nodes.get(CPU, 0) if self.provider.name != CPU else 0
        detail = {**found.detail, "nodes_by_provider": self.nodes}
        return msgspec.structs.replace(found, fallback_nodes=elsewhere, detail=detail)


def session_on(provider: Provider, path: Path, job: Job) -> ProviderSession | StaticShapes:
    """The graph on the provider, with the target's options; compiled for one shape at a time if these ask for it."""
    options = dict(job.target.options.get("onnxruntime", {}))
    if not options.pop(OPTION, False):
        return ProviderSession(provider, path, job.threads, options)
    axes, free = _axes(path)

    def opened(shapes: dict[str, tuple[int, ...]]) -> ProviderSession:
        sizes = {
            axis: size for name, shape in shapes.items() for axis, size in zip(axes[name], shape, strict=True) if axis
        }
        return ProviderSession(provider, path, job.threads, options, sizes)

    return StaticShapes(opened, axes, free, job)


def _axes(path: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, list[int]]]:
    """The names of each input's free axes ("" for those of a fixed size), and which axes of each output are free."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    inputs = {one.name: tuple(d.dim_param for d in one.type.tensor_type.shape.dim) for one in graph.input}
    outputs = {
        one.name: [number for number, d in enumerate(one.type.tensor_type.shape.dim) if not d.HasField("dim_value")]
        for one in graph.output
    }
    return inputs, outputs
