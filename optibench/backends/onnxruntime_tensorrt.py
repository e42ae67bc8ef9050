"""ONNX Runtime's TensorRT provider: TensorRT's engine behind ONNX Runtime's API, and what its TensorRT-RTX plugin
shares.

The artifact is a folder: the graph in the form that TensorRT takes, the shapes that engines are made for, and the
engines, which are built here so that a session only loads them. Nodes that TensorRT does not take stay with CUDA.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends import tensorrt
from optibench.backends.base import to_json
from optibench.errors import Unsupported
from optibench.nvidia import providers
from optibench.nvidia.providers import TENSORRT, Provider
from optibench.values import Artifact, Build, Job, Target, digest_of

if TYPE_CHECKING:
    from optibench.cache import Cache
    from optibench.nvidia.bound import BoundSession

FORMAT = "onnxruntime"
PRECISIONS = ("fp32", "tf32", "fp16", "int8")
EXTRA = "onnxruntime-tensorrt"
RUNTIME = ("onnxruntime-gpu", "tensorrt-cu13-libs", "tensorrt-cu12-libs")

NEEDS = ("onnxruntime-gpu", "tensorrt-cu13-libs", "numpy")

GRAPH, SHAPES = "model.onnx", "shapes.json"
TYPES = {"fp16": ("trt_fp16_enable",), "int8": ("trt_int8_enable", "trt_fp16_enable")}
"""What the provider must be told besides: TensorRT 10 takes a file's narrow types only where it may use them."""


def probe(target: Target) -> str | None:
    """It runs on NVIDIA GPUs, where a GPU build of the wheel and TensorRT's libraries are installed."""
    return providers.absent(TENSORRT, target)


def recipe(build: Build) -> dict[str, Any] | None:
    """All that decides the engines, the card among it. None if no card can be asked; ``prepare`` says why."""
    try:
        return engines_recipe(TENSORRT, RUNTIME, build)
    except Unsupported:
        return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """The graph with its engines, from the cache or built now."""
    return engines_artifact(TENSORRT, RUNTIME, build, cache)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[BoundSession]:
    """Opens the graph with its engines."""
    yield opened(TENSORRT, Path(artifact.path), job.case.precision, job.target, job.threads)


def usage(file: str, precision: str) -> tuple[str, str]:
    """The imports and the lines that run ``file`` in the folder ``here`` on ``inputs``, for an artifact's README."""
    told = {"trt_engine_cache_enable": "1", **dict.fromkeys(TYPES.get(precision, ()), "1")}
    return "import json\n\nimport onnxruntime", (
        f'''options = {{**json.loads((here / "{SHAPES}").read_text()), **{told}}}
options["trt_engine_cache_path"] = str(here)
session = onnxruntime.InferenceSession(
    here / "{file}", providers=[("{TENSORRT.name}", options), "CUDAExecutionProvider"]
)
'''
        + RUN
    )


# What the plugin shares


RUN = """assert session.get_providers() != ["CPUExecutionProvider"], "the log above says why"
wanted = {i.name for i in session.get_inputs()}
outputs = session.run(None, {name: array for name, array in inputs.items() if name in wanted})
print([output.shape for output in outputs])"""
"""What every README's lines end with, once there is a session."""


def engines_recipe(provider: Provider, runtime: tuple[str, ...], build: Build) -> dict[str, Any]:
    """The folder's key in the cache. Raises Unsupported where the card cannot be asked, or the precision not be had."""
    from optibench import quantize
    from optibench.host import package_versions
    from optibench.nvidia.card import card

    if build.model.ref.source == "openvino":
        raise Unsupported(f"{provider.backend} cannot run an OpenVINO file")
    device = card(build.device)
    tensorrt.refuse_older(device.compute_capability, build.precision)
    newest = tensorrt.OLDEST_CAPABILITY["tf32"]
    if build.precision == "fp32" and float(device.compute_capability) >= newest:
        raise Unsupported(
            f"{provider.name} multiplies fp32 in TF32 on cards from compute capability {newest} on, and has no option "
            "against it: ask for tf32, or for fp32 by the backend tensorrt"
        )
    return {
        "kind": "engine",
        "version": 1,
        "backend": provider.backend,
        "precision": build.precision,
        "parent": quantize.recipe(build, "tensorrt"),
        "profiles": [to_json(dict(p)) for p in tensorrt.profiles_of(Path(build.inputs))] if build.inputs else [],
        "options": providers.split_options(build.target.options.get(provider.backend, {}))[1],
        "card": to_json(device),
        "tools": package_versions(runtime),
    }


def engines_artifact(provider: Provider, runtime: tuple[str, ...], build: Build, cache: Cache) -> Artifact:
    """The graph, its shapes and (for TensorRT) engines; each from the cache if it is there."""
    from optibench import quantize
    from optibench.backends.onnxruntime import run_file

    own_recipe = engines_recipe(provider, runtime, build)
    cached = cache.get(own_recipe)
    graph = quantize.artifact(build, "tensorrt", cache, run_file)
    if cached is None:
        tensorrt.say_strangers(own_recipe, build.model.ref.id, cache)

    def make(folder: Path) -> dict[str, Any]:
        from optibench.weights import graph_files

        start = time.perf_counter()
        source = Path(graph.path)
        for file in graph_files(source):
            shutil.copyfile(file, folder / (GRAPH if file == source else file.name))
        (folder / SHAPES).write_text(json.dumps(shapes_for(provider, source, Path(build.inputs))))
        if provider == TENSORRT:
            timing = cache.root / "timing" / digest_of([own_recipe["card"], own_recipe["tools"]])
            timing.mkdir(parents=True, exist_ok=True)
            kept = {"trt_timing_cache_enable": "1", "trt_timing_cache_path": str(timing)}
            cache.say("building engines; onnxruntime does not tell how far it is")
            opened(provider, folder / GRAPH, build.precision, build.target, 0, kept)  # builds all, and keeps them there
        seconds = time.perf_counter() - start
        return {"model": build.model.ref.id, "seconds": seconds, "parent_sha256": graph.sha256}

    entry = cached or cache.get_or_make("engine", own_recipe, make)
    return tensorrt.built_of(graph, own_recipe, FORMAT, cache.path(entry.key) / GRAPH, entry, cached is not None)


def shapes_for(provider: Provider, graph: Path, inputs: Path) -> dict[str, str]:
    """The provider's options for the shapes that engines take: one profile, made fastest for the first shape that is
    timed, over all that the run feeds."""
    from optibench.nvidia.engine import range_for
    from optibench.signature import signature_of

    profile = tensorrt.profiles_of(inputs)[0]
    ranges = {
        one.name: range_for(one.name, tuple(-1 if size is None else size for size in one.shape), profile)
        for one in signature_of(graph)
        if None in one.shape
    }
    words = {"min": "least", "opt": "best", "max": "most"}
    return {
        f"{provider.prefix}_profile_{theirs}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, getattr(found, ours)))}" for name, found in ranges.items()
        )
        for theirs, ours in words.items()
        if ranges
    }


def provider_options(provider: Provider, folder: Path, precision: str) -> dict[str, str]:
    """What the provider is told for a folder that ``engines_artifact`` made."""
    shapes: dict[str, str] = json.loads((folder / SHAPES).read_text())
    if provider != TENSORRT:
        return shapes
    kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder)}
    return {**shapes, **kept, **dict.fromkeys(TYPES.get(precision, ()), "1")}


def opened(
    provider: Provider, path: Path, precision: str, target: Target, threads: int, more: dict[str, str] | None = None
) -> BoundSession:
    """A session of the folder's graph; the target's own options come last."""
    from optibench.nvidia.bound import BoundSession

    entries, told = providers.split_options(target.options.get(provider.backend, {}))
    options = {**provider_options(provider, path.parent, precision), **(more or {}), **told}
    return BoundSession(provider, path, threads, entries, options)
