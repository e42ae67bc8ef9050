"""ONNX Runtime's providers for NVIDIA GPUs: what each is, whether it is there, and opening a session on it.

ONNX Runtime lists providers that cannot run, and opens a session on the CPU in their place with no more than a line in
its log. So nothing here asks which are "available": their libraries are looked at before, the session's nodes after.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from optibench.backends.base import missing
from optibench.errors import CaseFailed, first_line
from optibench.nvidia import libraries
from optibench.values import Target, Value

CPU = "CPUExecutionProvider"
NO_WAIT = "disable_synchronize_execution_providers"
"""The option of a run that returns before the device has finished."""
REPLAYS_WITHOUT_WAITING = "1.27"
"""The first version of ONNX Runtime whose replay of a CUDA graph heeds it too; 1.26 still waits."""
OUT_OF_MEMORY = re.compile(r"Failed to allocate memory for requested buffer of size (\d+)")
"""What ONNX Runtime's arena says."""


class Provider(Value, frozen=True, kw_only=True):
    """One of them. ``library`` lies in the folder of ``package`` ("": it is part of ONNX Runtime's own). ``graphs`` is
    its own option for CUDA graphs, ``stream`` that for a stream of ours ("": calls on it would wait all the same),
    ``prefix`` begins its options for shapes. A ``plugin`` is registered with ONNX Runtime by its package."""

    backend: str
    name: str
    package: str
    library: str
    install: str
    graphs: str
    stream: str = ""
    prefix: str = ""
    plugin: bool = False


CUDA = Provider(
    backend="onnxruntime",
    name="CUDAExecutionProvider",
    package="onnxruntime",
    library="capi/libonnxruntime_providers_cuda.so",
    install="pip install 'optibench[onnxruntime-gpu]'",
    graphs="enable_cuda_graph",
    stream="user_compute_stream",
)
TENSORRT = Provider(
    backend="onnxruntime-tensorrt",
    name="TensorrtExecutionProvider",
    package="onnxruntime",
    library="capi/libonnxruntime_providers_tensorrt.so",
    install="pip install 'optibench[onnxruntime-tensorrt]'",
    graphs="trt_cuda_graph_enable",
    prefix="trt",
)
RTX = Provider(
    backend="onnxruntime-tensorrt-rtx",
    name="NvTensorRTRTXExecutionProvider",
    package="onnxruntime_ep_nv_tensorrt_rtx",
    library="libonnxruntime_providers_nv_tensorrt_rtx.so",
    install="pip install 'optibench[onnxruntime-tensorrt-rtx]'",
    graphs="enable_cuda_graph",
    prefix="nv",
    plugin=True,
)


def absent(provider: Provider, target: Target) -> str | None:
    """Why no session can be opened on the provider, and what to do about it; None if nothing speaks against it.
    Files are looked at; nothing is imported."""
    if target.device != "cuda":
        return f"{provider.backend} runs on NVIDIA GPUs, not on the device {target.device}"
    if reason := missing("onnxruntime", "onnxruntime") or missing("onnxscript", "onnxruntime"):
        return reason
    library = library_of(provider)
    if library is None:
        return f"{provider.package} is not installed: {provider.install}"
    if not library.is_file():
        if provider.plugin:
            return f"{provider.package} is installed without its library {library.name}; again: {provider.install}"
        return (
            f"onnxruntime is installed as its build for processors, which has no {provider.name}: pip uninstall -y "
            f"onnxruntime; {provider.install} (the two builds have the same files, so that only one can be installed)"
        )
    return _without(provider, libraries.lacking(library))


def _without(provider: Provider, lacking: list[str]) -> str | None:
    """The words for libraries that are missing."""
    if any(name.startswith(("libcuda.so", "libnvidia-")) for name in lacking):
        return "no NVIDIA driver is installed (libcuda.so is missing)"
    if lacking:
        return (
            f"{provider.name} needs {', '.join(lacking)}, which no wheel and no system folder has: {provider.install}"
        )
    return None


def library_of(provider: Provider) -> Path | None:
    """Where the provider's library would lie; None if its package is not installed, or it has none of its own."""
    if not provider.library:
        return None
    spec = importlib.util.find_spec(provider.package)
    return Path(spec.origin).parent / provider.library if spec and spec.origin else None


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """A target's ``[options.BACKEND]`` in ONNX Runtime's own words: keys with a dot are entries of the session's
    configuration, the others are options of the provider."""
    told = {key: str(int(value)) if isinstance(value, bool) else str(value) for key, value in options.items()}
    return (
        {key: value for key, value in told.items() if "." in key},
        {key: value for key, value in told.items() if "." not in key},
    )


def opened(provider: Provider, path: Path, settings: Any, options: Mapping[str, str]) -> Any:
    """A session of the file on the provider. Raises CaseFailed where ONNX Runtime cannot open one, or opens one that
    runs elsewhere."""
    import onnxruntime

    library = library_of(provider)
    if library:
        libraries.preload(library)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers: list[tuple[str, dict[str, str]]] | None = [(provider.name, dict(options))]
    try:
        if provider.plugin:
            settings.add_provider_for_devices(_plugin_devices(provider)[:1], dict(options))
            providers = None
        elif provider == TENSORRT:  # what TensorRT does not take stays on the GPU
            providers = [*(providers or []), (CUDA.name, {})]
        # Without enable_fallback=0 it tries again on the CPU when this fails, and prints that.
        session = onnxruntime.InferenceSession(path, settings, providers=providers, enable_fallback=0)
    except CaseFailed:
        raise
    except Exception as error:
        why = library and libraries.why_not_loaded(library)  # shorter and plainer than ONNX Runtime's own words
        raise CaseFailed(f"onnxruntime cannot open this graph on {provider.name}: {why or told(error)}") from error
    must_be_on(provider, session.get_providers(), nodes_by_provider(session))
    return session


def waits_within(provider: Provider, replayed: bool) -> str | None:
    """Why a call returns only when the device has finished, whatever is asked, so that events around it would hold the
    host's time too; None if it need not. ``replayed``: calls are replays of a CUDA graph."""
    import onnxruntime
    from packaging.version import Version

    if not provider.stream:
        return f"onnxruntime leaves out the wait within a call for {CUDA.name} alone"
    if replayed and Version(onnxruntime.__version__) < Version(REPLAYS_WITHOUT_WAITING):
        return f"onnxruntime before {REPLAYS_WITHOUT_WAITING} waits for the device within the replay of a CUDA graph"
    return None


def told(error: Exception) -> CaseFailed:
    """An error of ONNX Runtime's in words; for memory that ran out, with the bytes asked and free."""
    from optibench.nvidia.device import SHORT, memory, out_of_memory

    asked = OUT_OF_MEMORY.search(str(error))
    if asked is None and not SHORT.search(str(error)):
        return CaseFailed(first_line(error))
    return CaseFailed(out_of_memory(int(asked[1]) if asked else 0, "a buffer of ONNX Runtime's", memory()))


@cache
def _plugin_devices(provider: Provider) -> list[Any]:
    """The GPUs that the plugin drives, once it is registered."""
    import onnxruntime

    module = importlib.import_module(provider.package)
    name = module.get_ep_name()
    onnxruntime.register_execution_provider_library(name, module.get_library_path())
    devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise CaseFailed(f"{provider.name} is registered and finds no GPU that it drives (Ampere and later)")
    return devices


def nodes_by_provider(session: Any) -> dict[str, int]:
    """How many of the graph's nodes each provider got, before any were fused."""
    nodes: dict[str, int] = {}
    for part in session.get_provider_graph_assignment_info():
        nodes[part.ep_name] = nodes.get(part.ep_name, 0) + len(part.get_nodes())
    return nodes


def must_be_on(provider: Provider, providers: Sequence[str], nodes: Mapping[str, int]) -> None:
    """Raises CaseFailed for a session that is not on the provider at all: its figures would be another device's."""
    mine = [name for name in providers if is_of(provider, name)]
    if not mine:
        library = library_of(provider)
        why = (library and libraries.why_not_loaded(library)) or f"install what it needs: {provider.install}"
        raise CaseFailed(
            f"onnxruntime did not load {provider.name} and would run on the CPU in silence: {first_line(why)}"
        )
    if not any(nodes.get(name) for name in mine):
        where = " and ".join(nodes) or "nothing"
        raise CaseFailed(f"No node of this graph runs on {provider.name}, all of it on {where}.")


def is_of(provider: Provider, name: str) -> bool:
    """Whether ONNX Runtime's name of a provider is this one. A plugin is called what its package says, which has
    changed from version to version; it is alone beside the CPU's."""
    return name == provider.name or (provider.plugin and name != CPU)
