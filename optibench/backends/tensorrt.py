"""NVIDIA TensorRT 10 and 11: an engine of the exported graph for this machine's card, and what TensorRT-RTX shares.

Engines are strongly typed: fp32 and tf32 are the export itself, all else is written into the ONNX file
(tensorrt_graphs.py). An engine's key in the cache holds all that it depends on, the card and its driver among it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import missing, to_json
from optibench.errors import CaseFailed, Unsupported
from optibench.nvidia.bindings import TENSORRT, Flavour, absent
from optibench.nvidia.engine import EngineOptions, Profile, Range, build_engine, options_of
from optibench.values import Artifact, Build, BuildTimes, Job, Target, digest_of

if TYPE_CHECKING:
    from optibench.cache import Cache, Entry
    from optibench.nvidia.session import EngineSession

FORMAT = "tensorrt"
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int4-weights")
EXTRA = "tensorrt"
RUNTIME = ("tensorrt", "tensorrt-cu13-bindings", "tensorrt-cu12-bindings")

FILE = "model.engine"
OLDEST_CAPABILITY = {"tf32": 8.0, "bf16": 8.0, "int4-weights": 8.0, "fp8": 8.9}
"""The first compute capability whose cards have the precision (NVIDIA's support matrices)."""
PORTABLE_FROM = "8.6"
"""The oldest cards that a TensorRT-RTX engine runs on if none are named (its support matrix)."""
PACKAGES = {
    "tensorrt": RUNTIME,
    "tensorrt-rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
}


def probe(target: Target) -> str | None:
    """It runs on NVIDIA GPUs."""
    return probe_for(TENSORRT, target)


def recipe(build: Build) -> dict[str, Any] | None:
    """All that decides the engine, the card among it. None if no card can be asked; ``prepare`` says why."""
    try:
        return engine_recipe(TENSORRT, build)
    except Unsupported:
        return None


def prepare(build: Build, cache: Cache) -> Artifact:
    """The engine, from the cache or built now."""
    return engine_artifact(TENSORRT, build, cache)


@contextmanager
def session(artifact: Artifact, job: Job) -> Iterator[EngineSession]:
    """Opens the engine."""
    yield engine_session(TENSORRT, artifact, job)


# What TensorRT-RTX shares


def probe_for(flavour: Flavour, target: Target) -> str | None:
    """Why engines cannot be built and run for the target with what is installed."""
    if target.device != "cuda":
        return f"{flavour.backend} runs on NVIDIA GPUs, not on the device {target.device}"
    extra = flavour.backend
    return absent(flavour) or missing("onnxscript", "onnxruntime") or missing("cuda.bindings", extra)


def engine_recipe(flavour: Flavour, build: Build) -> dict[str, Any]:
    """The engine's key in the cache. Raises Unsupported where the card cannot be asked, or lacks the precision."""
    from optibench import quantize
    from optibench.host import package_versions
    from optibench.nvidia.card import card

    if build.model.ref.source == "openvino":
        raise Unsupported(f"{flavour.backend} cannot run an OpenVINO file")
    options = options_of(build.target, flavour)
    device = None if flavour.ahead_of_time else card(build.device)
    named = device.compute_capability if device else options.compute_capability
    refuse_older(named or PORTABLE_FROM, build.precision, "" if named else ", and the target names no others")
    return {
        "kind": "engine",
        "version": 1,
        "backend": flavour.backend,
        "precision": build.precision,
        "parent": quantize.recipe(build, form_of(build, options)),
        "profiles": [to_json(dict(profile)) for profile in profiles_of(Path(build.inputs))] if build.inputs else [],
        "options": {k: v for k, v in to_json(options).items() if k != "cuda_graph"},
        "card": to_json(device),
        "tools": package_versions(PACKAGES[flavour.backend]),
    }


def refuse_older(capability: str, precision: str, why: str = "") -> None:
    """Raises Unsupported where cards of this compute capability lack the precision."""
    oldest = OLDEST_CAPABILITY.get(precision, 0.0)
    if float(capability) < oldest:
        raise Unsupported(f"cards of compute capability {capability} have no {precision} (from {oldest} on){why}")


def engine_artifact(flavour: Flavour, build: Build, cache: Cache) -> Artifact:
    """The graph in the form that TensorRT takes, then its engine; each from the cache if it is there."""
    from optibench import quantize
    from optibench.backends.onnxruntime import run_file

    own_recipe = engine_recipe(flavour, build)
    cached = cache.get(own_recipe)
    graph = quantize.artifact(build, form_of(build, options_of(build.target, flavour)), cache, run_file)
    if cached is None:
        say_strangers(own_recipe, build.model.ref.id, cache)

    def make(folder: Path) -> dict[str, Any]:
        import time

        start = time.perf_counter()
        # Kernels' timings belong to a card and a version; engines of any model share them.
        kept = cache.root / "timing" / f"{digest_of([own_recipe['card'], own_recipe['tools']])}.cache"
        engine = build_engine(
            flavour,
            Path(graph.path),
            profiles_of(Path(build.inputs)),
            options_of(build.target, flavour),
            tf32=build.precision == "tf32",
            timing_cache=None if flavour.ahead_of_time else kept,
            say=cache.say,
        )
        (folder / FILE).write_bytes(engine)
        return {
            "seconds": time.perf_counter() - start,
            "parent_sha256": graph.sha256,
            "model": build.model.ref.id,
        }

    entry = cached or cache.get_or_make("engine", own_recipe, make)
    return built_of(graph, own_recipe, FORMAT, cache.path(entry.key) / FILE, entry, cached is not None)


def built_of(graph: Artifact, recipe: dict[str, Any], form: str, path: Path, entry: Entry, cached: bool) -> Artifact:
    """The artifact that the cache's ``entry`` holds at ``path``: engines that were built of ``graph`` by ``recipe``."""
    return Artifact(
        format=form,
        path=str(path),
        sha256=entry.sha256,
        bytes=entry.bytes,
        parent_sha256=graph.sha256,
        longest=graph.longest,
        notes=graph.notes,
        recipe=recipe,
        tools={**graph.tools, **recipe["tools"]},
        build_seconds=BuildTimes(
            export=graph.build_seconds.export,
            quantize=graph.build_seconds.quantize,
            compile=entry.facts["seconds"],
            cached=cached,
        ),
    )


def engine_session(flavour: Flavour, artifact: Artifact, job: Job) -> EngineSession:
    """Opens the engine on the current CUDA device."""
    from optibench.backends.onnxruntime import zeros_for
    from optibench.nvidia.session import EngineSession

    options = options_of(job.target, flavour)
    return EngineSession(flavour, Path(artifact.path), zeros_for, options.cuda_graph)


def form_of(build: Build, options: EngineOptions) -> str:
    """The form of the graph that the engine is built of: whose Q/DQ it holds."""
    from optibench.tensorrt_graphs import RECIPES

    return options.qdq if (options.qdq, build.precision) in RECIPES else "tensorrt"


STRANGERS = {
    "card": "another card or driver",
    "tools": "another version of TensorRT",
    "options": "other options",
    "profiles": "other shapes",
    "parent": "another revision or export of the model",
}


def say_strangers(own_recipe: dict[str, Any], model: str, cache: Cache) -> None:
    """An engine of this model in this precision that was made for something else is of no use, and why one is built
    again is said. If there are several, the one that is most like it tells."""
    own_recipe = to_json(own_recipe)  # as the cache's manifests hold them: lists for tuples
    differing = [
        [name for name in STRANGERS if entry.recipe.get(name) != own_recipe[name]]
        for _, entry in cache.entries()
        if entry is not None
        and entry.kind == "engine"
        and entry.facts.get("model") == model
        and all(entry.recipe.get(name) == own_recipe[name] for name in ("backend", "precision"))
    ]
    if differing:
        what = " and ".join(STRANGERS[name] for name in min(differing, key=len))
        cache.say(f"An engine in the cache was made for {what} than this run's; a new one is built.")


def profiles_of(inputs: Path) -> list[Profile]:
    """One profile for each shape that is timed, which it is made fastest for. All span what the run feeds, evaluation
    inputs included, and begin at one row (and one token), so that an exported engine takes small inputs too.

    Only headers are read.
    """
    timed = [_shapes_in(path) for path in sorted(inputs.glob("shape-*.npz"))]
    everything = [shapes for shapes, _ in (*timed, _shapes_in(inputs / "evaluation.npz"))]
    ranges: dict[str, tuple[list[int], list[int]]] = {}
    for shapes in everything:
        for name, found in shapes.items():
            least, most = ranges.setdefault(name, (list(found[0]), list(found[0])))
            for shape in found:
                least[:] = map(min, least, shape)
                most[:] = map(max, most, shape)
    texts = {name for _, kinds in timed for name, kind in kinds.items() if kind == "i"}
    for name, (least, _) in ranges.items():
        free = len(least) if name in texts and len(least) == 2 else 1
        least[:free] = [1] * min(free, len(least))
    return [
        {
            name: Range(least=tuple(ranges[name][0]), best=found[0], most=tuple(ranges[name][1]))
            for name, found in shapes.items()
        }
        for shapes, _ in timed
    ]


def _shapes_in(path: Path) -> tuple[dict[str, list[tuple[int, ...]]], dict[str, str]]:
    """Every shape by input name in a file that arrays.save wrote, and the kinds (numpy's letters) of the elements."""
    from numpy.lib import format as npy

    shapes: dict[str, list[tuple[int, ...]]] = {}
    kinds: dict[str, str] = {}
    with zipfile.ZipFile(path) as stored:
        for member in stored.namelist():
            index, _, name = member.removesuffix(".npy").partition("/")
            with stored.open(member) as file:
                if npy.read_magic(file) != (1, 0):
                    raise CaseFailed(f"{path} was not written by this version; prune the cache")
                shape, _, kind = npy.read_array_header_1_0(file)
            shapes.setdefault(name, []).append(tuple(shape[1:] if "x" in index else shape))  # several batches, stacked
            kinds[name] = kind.kind
    return shapes, kinds
