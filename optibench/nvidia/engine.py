"""From an ONNX file to a serialized engine. Strongly typed: the file decides every tensor's precision.

Only what TensorRT 10 and 11 and TensorRT-RTX all have is used. Whatever goes wrong raises CaseFailed with TensorRT's
own words, since its calls answer None or False and say why in the log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from optibench.errors import CaseFailed, OptibenchError, first_line
from optibench.nvidia.bindings import Flavour, bindings, logger
from optibench.nvidia.device import bytes_wanted, memory, out_of_memory
from optibench.values import Target, Value

Say = Callable[[str], None]
Dims = tuple[int, ...]


class Range(Value, frozen=True, kw_only=True):
    """The shapes of one input that an engine takes: the smallest, the one it is made fastest for, the largest."""

    least: Dims
    best: Dims
    most: Dims


Profile = Mapping[str, Range]
"""A range for each input, by name: one optimization profile."""
TELL_SECONDS = 5.0


class EngineOptions(Value, frozen=True, kw_only=True):
    """A target's ``[options.tensorrt]`` or ``[options.tensorrt-rtx]``. None leaves TensorRT's own default.

    ``hardware``: on which cards the engine runs besides the one it is built on. ``compute_capability`` ("8.9"): the
    cards that a TensorRT-RTX engine is built for, whatever is in this machine ("": all from Ampere on).
    ``qdq``: who places int8's and fp8's Q/DQ; that decides the graph. ``cuda_graph``: whether calls are replayed as
    CUDA graphs; it does not change the engine.
    """

    builder_level: int | None = None
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware: Literal["this-card", "same-compute-capability", "ampere-plus"] = "this-card"
    compute_capability: str = ""
    qdq: Literal["nncf", "modelopt"] = "nncf"
    cuda_graph: bool = True


def options_of(target: Target, flavour: Flavour) -> EngineOptions:
    """The target's options for this flavour, checked; an unknown key is an error that names the known ones."""
    table = target.options.get(flavour.backend, {})
    try:
        options = msgspec.convert(table, EngineOptions)
    except msgspec.ValidationError as error:
        known = ", ".join(EngineOptions.__struct_fields__)
        raise OptibenchError(
            f"The target {target.name}, [options.{flavour.backend}]: {error}. Known: {known}."
        ) from None
    if options.compute_capability and not flavour.ahead_of_time:
        raise OptibenchError(
            f"The target {target.name} asks tensorrt for a compute capability, but TensorRT builds for the card that "
            "is in the machine. Only tensorrt-rtx builds for another one."
        )
    return options


def build_engine(
    flavour: Flavour,
    onnx: Path,
    profiles: list[Profile],
    options: EngineOptions,
    *,
    tf32: bool = False,
    timing_cache: Path | None = None,
    say: Say = lambda text: None,
) -> bytes:
    """The engine of the ONNX file, with one optimization profile for each of ``profiles``."""
    trt = bindings(flavour)
    log = logger(flavour)
    builder = trt.Builder(log)
    # The flag's number differs between majors, and in 11 it is always on.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        problems = [parser.get_error(number) for number in range(parser.num_errors)]
        raise CaseFailed(_unparsed(flavour, problems, log.errors))
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that the engine can say what it executes
    config.progress_monitor = _monitor(flavour, say)
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and then fp32 would not be fp32
    _apply(flavour, config, options)
    inputs = {network.get_input(number).name: network.get_input(number) for number in range(network.num_inputs)}
    for profile in profiles if any(-1 in tuple(one.shape) for one in inputs.values()) else ():
        made = builder.create_optimization_profile()
        for name, one in inputs.items():
            shapes = range_for(name, tuple(one.shape), profile)
            made.set_shape(name, shapes.least, shapes.best, shapes.most)
        if config.add_optimization_profile(made) < 0:
            raise CaseFailed(f"{flavour.title} refuses the shapes {_shown(profile)}{_words(log.errors)}")
    if timing_cache:
        known = timing_cache.read_bytes() if timing_cache.exists() else b""
        config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        if (asked := bytes_wanted(log.errors)) is not None:
            asked = max(asked, bytes_wanted(log.warnings) or 0)  # tactics that were left out for want of memory
            raise CaseFailed(out_of_memory(asked, "building this graph", None if flavour.ahead_of_time else memory()))
        raise CaseFailed(f"{flavour.title} cannot build this graph{_words(log.errors)}")
    if timing_cache:
        _keep(timing_cache, bytes(config.get_timing_cache().serialize()))
    return bytes(engine)


def _apply(flavour: Flavour, config: Any, options: EngineOptions) -> None:
    trt = bindings(flavour)
    if options.builder_level is not None:
        config.builder_optimization_level = options.builder_level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware == "ampere-plus":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware == "same-compute-capability":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    if flavour.ahead_of_time and options.compute_capability:
        name = "SM" + options.compute_capability.replace(".", "")
        known = [n[2:-1] + "." + n[-1] for n in trt.ComputeCapability.__members__ if n.startswith("SM")]
        if name not in trt.ComputeCapability.__members__:
            raise CaseFailed(
                f"{flavour.title} builds for no card of compute capability {options.compute_capability}, "
                f"only for {', '.join(known)}"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.__members__[name], 0)


def _monitor(flavour: Flavour, say: Say) -> Any:
    """Tells how far the builder is, every few seconds. TensorRT has dozens of phases and thousands of steps."""
    trt = bindings(flavour)

    class Phases(trt.IProgressMonitor):  # type: ignore[name-defined,misc]  # known at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.told = time.monotonic()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self.told > TELL_SECONDS:
                self.told = time.monotonic()
                say(f"building the engine: {phase_name}, {step} of {self.steps.get(phase_name, step)}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Phases()


def range_for(name: str, declared: Dims, profile: Profile) -> Range:
    """The profile's range for an input declared with these sizes (-1: free). An input that the data lack (position
    ids, token types) has the sizes of one of as many axes that the data have."""
    if -1 not in declared:
        return Range(least=declared, best=declared, most=declared)
    alike = [shapes for shapes in profile.values() if len(shapes.best) == len(declared)]
    found = profile.get(name) or (alike[0] if alike else None)
    if found is None or len(found.best) != len(declared):
        raise CaseFailed(f"The input {name!r} has {len(declared)} axes, and the workload has no such shape for it")
    wrong = [
        axis for axis, size in enumerate(declared) if size != -1 and not found.least[axis] <= size <= found.most[axis]
    ]
    if wrong:
        raise CaseFailed(
            f"The graph fixes the axis {wrong[0]} of {name!r} at {declared[wrong[0]]}; the workload has {found.best}"
        )
    fixed = [
        tuple(size if size != -1 else asked for size, asked in zip(declared, shape, strict=True))
        for shape in (found.least, found.best, found.most)
    ]
    return Range(least=fixed[0], best=fixed[1], most=fixed[2])


def _unparsed(flavour: Flavour, problems: list[Any], errors: list[str]) -> str:
    """Which node the parser stopped at, and why."""
    if not problems:
        return f"{flavour.title} cannot read this graph{_words(errors)}"
    one = problems[0]
    node = f"the node {one.node_name()!r} ({one.node_operator()})" if one.node_operator() else "this graph"
    more = f"; {len(problems) - 1} more nodes likewise" if len(problems) > 1 else ""
    return f"{flavour.title} cannot read {node}: {first_line(one.desc())}{more}"


def _words(errors: list[str]) -> str:
    return f": {first_line(errors[0])}" if errors else ", and does not say why"


def _shown(profile: Profile) -> str:
    return ", ".join(f"{name} {r.least} to {r.most}" for name, r in profile.items())


def _keep(path: Path, content: bytes) -> None:
    """Writes the timing cache whole: another run may read it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{id(content)}")
    fresh.write_bytes(content)
    fresh.replace(path)
