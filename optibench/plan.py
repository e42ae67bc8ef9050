"""From a request to a plan: which cases, in which shapes, on which of the asked targets they can run, and how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from optibench import gpus, own_precision, plugins, signature, targets
from optibench.errors import OptibenchError, unknown_name
from optibench.tasks.base import LENGTHS, is_generative, kind_of
from optibench.values import PRECISIONS, Artifact, Build, Case, Host, Model, Shape, Target, Value, Workload

AGAINST = "against"
"""The variant of cases that a run is held against."""
NEW_TOKENS = 64
"""Of a generation that is timed, where --new-tokens does not say."""
ROOM_OF_PROMPT = 8
"""Positions of a decoder that its first tokens may take: Whisper's are four."""
LARGEST_SIDE = 1 << 20
"""Of a batch or a length: more is a slip of the finger."""
SEVERAL_SIZES = {"official": 1.3, "quick": 2.0}
"""The usual budget of a run at several sizes, over that of one: less than twice, with what does not grow."""
QUICK = {"rounds": 3, "blocks": 12, "burst_seconds": 0.03, "limit": 200, "budget_seconds": 90.0, "tier": "quick"}


class Request(Value, frozen=True, kw_only=True):
    """What a user asks for, as the command line or Python says it; None and () mean the default."""

    model: str
    targets: tuple[str, ...] = ("cpu",)
    backends: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    task: str | None = None
    dataset: str | None = None
    columns: dict[str, str] = {}
    calibration: str | None = None
    input_shapes: dict[str, str] = {}
    input_file: str | None = None
    limit: int | None = None
    batches: tuple[int, ...] = (1,)
    lengths: tuple[int, ...] = ()
    new_tokens: int | None = None
    """Of tasks that generate: tokens of each generation that is timed."""
    rounds: int | None = None
    budget_seconds: float | None = None
    quick: bool = False
    accuracy_floor: float = 0.99
    wait_quiet_seconds: float = 0.0
    seed: int = 0
    targets_dir: str | None = None
    device: str | None = None
    """Which NVIDIA GPU: its number, UUID or a part of its name. None: for each target the first that it fits."""
    trust_remote_code: bool = False
    allow_pickle: bool = False
    against: str | None = None
    """A second side, measured in the same rounds: a revision, a model, an exported artifact, or older versions."""
    against_env: str | None = None
    """The same, as package versions alone: a file of pins, pins, or a virtual environment's folder."""


class Side(Value, frozen=True, kw_only=True):
    """What the cases of one variant are made from and run in. ``python`` is another environment's interpreter (None:
    this one), with its ``packages``; ``artifact`` a finished build, that is taken as it is."""

    model: Model
    python: str | None = None
    packages: dict[str, str] = {}
    artifact: Artifact | None = None


class PlannedCase(Value, frozen=True, kw_only=True):
    """One case; ``skip`` says why it cannot run here."""

    case: Case
    skip: str | None = None


class Plan(Value, frozen=True, kw_only=True):
    """All that a run needs to know before anything is built."""

    request: Request
    model: Model
    workload: Workload
    targets: tuple[Target, ...]
    cases: tuple[PlannedCase, ...]
    reference: Case | None
    against: Side | None = None
    """What the cases of the variant ``against`` are made from, in a run of two sides."""
    devices: dict[str, str] = {}
    """The UUID of the GPU that all cases of a target run on, by target: where it is a GPU that tells one."""

    def side(self, case: Case) -> Side:
        """What the case is made from and runs in."""
        return self.against if case.variant and self.against else Side(model=self.model)

    def counterpart(self, case: Case) -> Case | None:
        """The same build on the other side, if the plan holds it."""
        other = counterpart_of(case)
        return other if any(planned.case == other for planned in self.cases) else None

    def target(self, name: str) -> Target:
        """The plan's target of that name."""
        return next(target for target in self.targets if target.name == name)

    def build(self, case: Case, inputs: str, calibration_sha256: str) -> Build:
        """What the case's backend needs to know to build it."""
        return Build(
            model=self.side(case).model,
            target=self.target(case.target),
            backend=case.backend,
            precision=case.precision,
            inputs=inputs,
            calibration_sha256=calibration_sha256,
            device=self.devices.get(case.target, ""),
        )

    @property
    def runnable(self) -> tuple[Case, ...]:
        """The cases that may run here."""
        return tuple(planned.case for planned in self.cases if planned.skip is None)


def check_names(request: Request, known: dict[str, Target]) -> None:
    """Errors for names and numbers that cannot be meant, before anything is fetched or loaded."""
    if not request.targets:
        raise OptibenchError("No target is named. Give at least one with --targets, for example --targets cpu.")
    targets.find(list(request.targets), known)
    for backend in request.backends:
        plugins.check("backend", backend)
    for precision in request.precisions:
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
    if request.task:
        plugins.check("task", request.task)
    if request.device is not None:
        if not request.device.strip():
            raise OptibenchError("--device is empty. Give a GPU's number, UUID or a part of its name, or leave it out.")
        if not any(known[name].device == "cuda" for name in request.targets):
            raise OptibenchError(
                f"--device names an NVIDIA GPU, and none of the targets asked for ({', '.join(request.targets)}) runs "
                "on one. Give such a target with it, for example cuda, or leave it out."
            )
    if not request.batches:
        raise OptibenchError("No batch size is given. Give at least one with --batch, for example --batch 1.")
    new_tokens = () if request.new_tokens is None else (request.new_tokens,)
    for name, values in (("--batch", request.batches), ("--length", request.lengths), ("--new-tokens", new_tokens)):
        if any(not 1 <= value <= LARGEST_SIDE for value in values):
            strange = next(value for value in values if not 1 <= value <= LARGEST_SIDE)
            raise OptibenchError(f"{name} takes whole numbers from 1 to {LARGEST_SIDE}, not {strange}.")
    for name, value in (("--dataset", request.dataset), ("--calibration", request.calibration)):
        if value is not None and not value.strip():
            raise OptibenchError(f"{name} is empty. Give a file or a Hub data set's id, or leave it out.")
    if not 0 <= request.seed < 1 << 32:
        raise OptibenchError(f"--seed takes a whole number from 0 to {(1 << 32) - 1}, not {request.seed}.")
    if request.limit is not None and request.limit < 1:
        raise OptibenchError(f"--limit takes a whole number of at least 1, not {request.limit}.")
    if request.rounds is not None and not 1 <= request.rounds <= 20:
        raise OptibenchError(f"--rounds takes 1 to 20, not {request.rounds}. A verdict needs at least 5.")
    if not 0 < request.accuracy_floor <= 1:
        raise OptibenchError(
            f"--accuracy-floor is a share of the reference's score, from 0 to 1, not {request.accuracy_floor}."
        )
    if request.budget_seconds is not None and not 0 < request.budget_seconds < math.inf:
        raise OptibenchError("--budget takes a time above zero, such as 90s, 10m or 1h.")


def plan_of(request: Request, model: Model, known: dict[str, Target], host: Host, only_build: bool = False) -> Plan:
    """The plan: every asked case, with the reason where it cannot run on this machine. ``only_build``: nothing will
    be measured, so a backend that builds ahead of time does not need the target's hardware here."""
    chosen = targets.find(list(request.targets), known)
    host = gpus.only(host, request.device)
    generative = is_generative(plugins.load("task", model.ref.task), model.config)
    own = "fp32" if generative else own_precision.of(model)
    found: dict[Case, PlannedCase] = {}
    for target in chosen:
        away = targets.mismatch(target, host)
        for case in _cases_of(target, request, generative, own):
            if case not in found:
                anywhere = only_build and getattr(plugins.load("backend", case.backend), "AHEAD_OF_TIME", False)
                skip = (None if anywhere else away) or why_not(case, target, generative)
                found[case] = PlannedCase(case=case, skip=skip or own_precision.why_not(case.precision, own))
    cases = list(found.values())
    reference = _reference(model, chosen, host, own)
    if reference:
        # First in every report, and always there: without it there is no speed-up to speak of.
        cases = [planned for planned in cases if planned.case != reference]
        cases.insert(0, PlannedCase(case=reference))
    return Plan(
        request=request,
        model=model,
        workload=_workload(request, model),
        targets=tuple(chosen),
        cases=tuple(cases),
        reference=reference,
        devices=devices_of(chosen, host),
    )


def devices_of(chosen: Sequence[Target], host: Host) -> dict[str, str]:
    """The UUID of each target's GPU by its name: the first that it fits, so that all its cases have the same."""
    found = host.nvidia.gpus if host.nvidia else ()
    fitting = {target.name: targets.gpus_of(target, found) for target in chosen if target.device == "cuda"}
    return {name: mine[0].uuid for name, mine in fitting.items() if mine and mine[0].uuid}


def with_against(plan: Plan, side: Side, only: Case | None = None) -> Plan:
    """The plan of a run of two sides: every case, or ``only`` one, once more made from ``side``. A case that cannot
    run here is planned (and told) once."""
    limit = _positions(side.model)
    longest = max(plan.workload.shapes, key=lambda shape: shape.length + shape.new_tokens)
    if limit and longest.length + longest.new_tokens > limit:
        more = f" with {longest.new_tokens} new tokens" if longest.new_tokens else ""
        raise OptibenchError(
            f"{side.model.ref.id} at {side.model.ref.revision} has {limit} positions, so --length {longest.length}"
            f"{more} is too long for it. Give at most {limit - longest.new_tokens}."
        )
    both: list[PlannedCase] = []
    for planned in plan.cases:
        both.append(planned)
        if planned.skip is None and only in (None, planned.case):
            both.append(PlannedCase(case=counterpart_of(planned.case)))
    return msgspec.structs.replace(plan, cases=tuple(both), against=side)


def only_like(plan: Plan, pattern: str) -> Plan:
    """The plan with the reference and the cases whose name is like the pattern, on both sides. Error: there is none."""
    names = {planned.case: msgspec.structs.replace(planned.case, variant="").name for planned in plan.cases}
    wanted = {case for case, name in names.items() if fnmatchcase(name, pattern)}
    if names and not wanted:
        known = ", ".join(dict.fromkeys(names.values())) or "none"
        raise OptibenchError(f"No case is named like {pattern!r}. It would be: {known}.")
    kept = tuple(planned for planned in plan.cases if planned.case in {*wanted, plan.reference})
    return msgspec.structs.replace(plan, cases=kept)


def _cases_of(target: Target, request: Request, generative: bool, own: str) -> list[Case]:
    found = []
    for backend in request.backends or tuple(target.backends):
        module = plugins.load("backend", backend)
        known = getattr(module, "GENERATES", module.PRECISIONS) if generative else module.PRECISIONS
        usual = tuple(precision for precision in known if precision in target.precisions)
        if not generative:
            usual = own_precision.tried(own, target.backends.get(backend) or usual)
        found += [
            Case(target=target.name, backend=backend, precision=precision) for precision in request.precisions or usual
        ]
    return found


def why_not(case: Case, target: Target, generative: bool = False) -> str | None:
    """Why the case cannot run on a machine that is this target; None if it can."""
    module = plugins.load("backend", case.backend)
    if generative and not hasattr(module, "GENERATES"):
        able = [name for name in target.backends if hasattr(plugins.load("backend", name), "GENERATES")]
        return f"{case.backend} generates no text here (of this target's backends do: {', '.join(able) or 'none'})"
    if reason := module.probe(target):
        return str(reason)
    if case.precision not in module.PRECISIONS:
        return f"{case.backend} has no {case.precision} (it has {', '.join(module.PRECISIONS)})"
    if case.precision not in target.precisions:
        return f"the target {target.name} has no {case.precision} (it has {', '.join(target.precisions)})"
    return None


def _reference(model: Model, chosen: Sequence[Target], host: Host, precision: str) -> Case | None:
    """The model's own precision on the first target that this machine is, by the first backend of that target that runs
    it: PyTorch, on the targets that list it. A finished graph is its own reference, on the runtime it was made for."""
    own = {"onnx": "onnxruntime", "openvino": "openvino"}.get(model.ref.source)
    generative = is_generative(plugins.load("task", model.ref.task), model.config)
    for target in chosen:
        if targets.mismatch(target, host):
            continue
        for backend in (own,) if own else tuple(target.backends):
            case = Case(target=target.name, backend=backend, precision=precision)
            if why_not(case, target, generative) is None:
                return case
    return None


def _positions(model: Model) -> int | None:
    """The most tokens a row; None where none are known, and of pictures and sounds."""
    return model.max_length if kind_of(plugins.load("task", model.ref.task)) == "text" else None


def _generations(request: Request, model: Model) -> tuple[Shape, ...]:
    """Two shapes for each batch and prompt. Error: a prompt that leaves no room for the new tokens."""
    kind, limit = kind_of(plugins.load("task", model.ref.task)), _positions(model)
    if model.config.get("is_encoder_decoder"):
        return _with_phases(request, *_of_encoder_decoder(request, model, limit, LENGTHS[kind][1]))
    new_tokens = request.new_tokens or min(NEW_TOKENS, (limit or 2 * NEW_TOKENS) // 2)
    room = limit - new_tokens if limit else None
    usual = LENGTHS["text"][1]
    lengths = request.lengths or (min(usual, max(1, room)) if room is not None else usual,)
    if limit and max(lengths) + new_tokens > limit:
        longest = max(lengths)
        shorter = f"a prompt of at most {room}, or " if room and room > 0 else ""
        raise OptibenchError(
            f"{model.ref.id} has {limit} positions, and a prompt of {longest} tokens with {new_tokens} new ones takes "
            f"{longest + new_tokens}. Give {shorter}fewer new tokens (--prompt-length, --new-tokens)."
        )
    return _with_phases(request, lengths, new_tokens)


def _of_encoder_decoder(request: Request, model: Model, limit: int | None, usual: int) -> tuple[tuple[int, ...], int]:
    """Lengths of what is encoded, and new tokens: these have positions of their own. Errors: too many of either."""
    own = model.config.get("max_target_positions") or model.config.get("max_position_embeddings")
    room = own - ROOM_OF_PROMPT if isinstance(own, int) and own > ROOM_OF_PROMPT else None
    new_tokens = request.new_tokens or min(NEW_TOKENS, room or NEW_TOKENS)
    lengths = request.lengths or (min(usual, limit or usual),)
    if limit and max(lengths) > limit:
        raise OptibenchError(
            f"{model.ref.id} has {limit} positions, so --length {max(lengths)} is too long. Give at most {limit}."
        )
    if room and new_tokens > room:
        raise OptibenchError(
            f"The decoder of {model.ref.id} has room for {room} new tokens, and --new-tokens asks for {new_tokens}."
        )
    return lengths, new_tokens


def _with_phases(request: Request, lengths: Sequence[int], new_tokens: int) -> tuple[Shape, ...]:
    return tuple(
        shape
        for batch in request.batches
        for length in lengths
        for shape in (
            Shape(batch=batch, length=length, phase="prefill"),
            Shape(batch=batch, length=length, phase="decode", new_tokens=new_tokens),
        )
    )


def _workload(request: Request, model: Model) -> Workload:
    task = plugins.load("task", model.ref.task)
    limit, kind, generative = _positions(model), kind_of(task), is_generative(task, model.config)
    if generative and model.is_graph:
        raise OptibenchError(
            f"{model.ref.id} is a finished graph, and text is generated with models in Hugging Face format. Give the "
            "folder that it was exported from, or --task graph to time one call of the graph itself."
        )
    if request.new_tokens is not None and not generative:
        raise OptibenchError(f"--new-tokens is for tasks that generate text; {model.ref.task} does not. Leave it out.")
    if (request.input_shapes or request.input_file) and model.ref.task != "graph":
        raise OptibenchError(
            f"--input and --inputs are for graphs of unknown purpose; {model.ref.id} is run for {model.ref.task}, "
            "whose inputs are made from data. Leave them out, or give --task graph with an .onnx or .xml file."
        )
    if kind == "image" and request.lengths:
        raise OptibenchError("Pictures have the size that the model's own processor gives them: leave --length out.")
    too_long = [length for length in request.lengths if limit and length > limit]
    if too_long and not generative:
        raise OptibenchError(
            f"{model.ref.id} has {limit} positions, so --length {max(too_long)} is too long. Give at most {limit}."
        )
    batches, lengths = request.batches, request.lengths
    if model.is_graph:
        inputs = signature.given(signature.signature_of(Path(model.path)), request.input_shapes, request.input_file)
        fixed = signature.fixed_sizes(inputs)
        if kind == "text":
            lengths = signature.asked_sizes("length", "--length", lengths, fixed.length)
        batches = signature.asked_sizes("batch", "--batch", () if batches == (1,) else batches, fixed.batch) or (1,)
    usual = LENGTHS[kind][1]
    lengths = lengths or (min(usual, limit or usual),)
    shapes = tuple(Shape(batch=batch, length=length) for batch in batches for length in lengths)
    if generative:
        shapes = _generations(request, model)
    if model.ref.task == "graph":
        signature.inputs_for(inputs, shapes[0], request.seed)  # an input that cannot be made is said now
    settings: dict[str, object] = dict(QUICK) if request.quick else {}
    if request.rounds is not None:
        settings["rounds"] = request.rounds
    if request.budget_seconds is not None:
        settings["budget_seconds"] = request.budget_seconds
    if request.limit is not None:
        settings["limit"] = request.limit
    workload = Workload(
        shapes=tuple(dict.fromkeys(shapes)),
        dataset=request.dataset,
        columns=request.columns,
        calibration=request.calibration,
        input_shapes=request.input_shapes,
        input_file=request.input_file,
        seed=request.seed,
        accuracy_floor=request.accuracy_floor,
    )
    workload = msgspec.structs.replace(workload, **settings)
    if request.budget_seconds is None and workload.several:
        workload = msgspec.structs.replace(
            workload, budget_seconds=SEVERAL_SIZES[workload.tier] * workload.budget_seconds
        )
    return workload


def twin_of(case: Case) -> Case:
    """The case's twin, for the A/A check."""
    return msgspec.structs.replace(case, copy=1)


def counterpart_of(case: Case) -> Case:
    """The same build on the other side of a run of two sides."""
    return msgspec.structs.replace(case, variant="" if case.variant else AGAINST)
