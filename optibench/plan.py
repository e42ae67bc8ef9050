"""From a request to a plan: which cases, in which shapes, on which of the asked targets they can run, and how long."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from optibench import plugins, targets
from optibench.cache import Cache
from optibench.errors import OptibenchError, unknown_name
from optibench.values import PRECISIONS, Artifact, Build, Case, Host, Model, Shape, Target, Value, Workload

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
    limit: int | None = None
    batches: tuple[int, ...] = (1,)
    lengths: tuple[int, ...] = ()
    rounds: int | None = None
    budget_seconds: float | None = None
    quick: bool = False
    accuracy_floor: float = 0.99
    seed: int = 0
    targets_dir: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False


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

    def target(self, name: str) -> Target:
        """The plan's target of that name."""
        return next(target for target in self.targets if target.name == name)

    def build(self, case: Case, inputs: str, calibration_sha256: str) -> Build:
        """What the case's backend needs to know to build it."""
        return Build(
            model=self.model,
            target=self.target(case.target),
            backend=case.backend,
            precision=case.precision,
            inputs=inputs,
            calibration_sha256=calibration_sha256,
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
    for name, values in (("--batch", request.batches), ("--length", request.lengths)):
        if any(value < 1 for value in values):
            raise OptibenchError(f"{name} takes whole numbers of at least 1, not {min(values)}.")
    if request.limit is not None and request.limit < 1:
        raise OptibenchError(f"--limit takes a whole number of at least 1, not {request.limit}.")
    if request.rounds is not None and not 1 <= request.rounds <= 20:
        raise OptibenchError(f"--rounds takes 1 to 20, not {request.rounds}. A verdict needs at least 5.")
    if not 0 < request.accuracy_floor <= 1:
        raise OptibenchError(
            f"--accuracy-floor is a share of the reference's score, from 0 to 1, not {request.accuracy_floor}."
        )
    if request.budget_seconds is not None and request.budget_seconds <= 0:
        raise OptibenchError("--budget takes a time above zero, such as 90s, 10m or 1h.")


def plan_of(request: Request, model: Model, known: dict[str, Target], host: Host, only_build: bool = False) -> Plan:
    """The plan: every asked case, with the reason where it cannot run on this machine. ``only_build``: nothing will
    be measured, so a backend that builds ahead of time does not need the target's hardware here."""
    chosen = targets.find(list(request.targets), known)
    cases: list[PlannedCase] = []
    for target in chosen:
        away = targets.mismatch(target, host)
        for case in _cases_of(target, request):
            anywhere = only_build and getattr(plugins.load("backend", case.backend), "AHEAD_OF_TIME", False)
            skip = (None if anywhere else away) or _why_not(case, target)
            if not any(planned.case == case for planned in cases):
                cases.append(PlannedCase(case=case, skip=skip))
    reference = _reference(model, chosen, host, request)
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
    )


def _cases_of(target: Target, request: Request) -> list[Case]:
    found = []
    for backend in request.backends or tuple(target.backends):
        module = plugins.load("backend", backend)
        usual = target.backends.get(backend) or tuple(p for p in module.PRECISIONS if p in target.precisions)
        found += [
            Case(target=target.name, backend=backend, precision=precision) for precision in request.precisions or usual
        ]
    return found


def _why_not(case: Case, target: Target) -> str | None:
    module = plugins.load("backend", case.backend)
    if reason := module.probe(target):
        return str(reason)
    if case.precision not in module.PRECISIONS:
        return f"{case.backend} has no {case.precision} (it has {', '.join(module.PRECISIONS)})"
    if case.precision not in target.precisions:
        return f"the target {target.name} has no {case.precision} (it has {', '.join(target.precisions)})"
    return None


def _reference(model: Model, chosen: Sequence[Target], host: Host, request: Request) -> Case | None:
    """fp32 on the first target that this machine is, by the first backend of that target that runs it: PyTorch, on
    the targets that list it. A finished graph is its own reference, on the runtime that it was made for."""
    own = {"onnx": "onnxruntime", "openvino": "openvino"}.get(model.ref.source)
    for target in chosen:
        if targets.mismatch(target, host):
            continue
        for backend in (own,) if own else tuple(target.backends):
            case = Case(target=target.name, backend=backend, precision="fp32")
            if _why_not(case, target) is None:
                return case
    return None


def _workload(request: Request, model: Model) -> Workload:
    limit = model.max_length
    too_long = [length for length in request.lengths if limit and length > limit]
    if too_long:
        raise OptibenchError(
            f"{model.ref.id} has {limit} positions, so --length {max(too_long)} is too long. Give at most {limit}."
        )
    lengths = request.lengths or (min(128, limit or 128),)
    shapes = tuple(Shape(batch=batch, length=length) for batch in request.batches for length in lengths)
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
        seed=request.seed,
        accuracy_floor=request.accuracy_floor,
    )
    return msgspec.structs.replace(workload, **settings)


def groups_of(
    cases: Sequence[Case], reference: Case | None, artifacts: dict[Case, Artifact], free: int
) -> list[list[Case]]:
    """Cases that may live together in ``free`` bytes of memory; each group holds the reference and its twin.

    A process needs about its weights twice over while it loads, and its runtime. The estimate is rough on purpose:
    it decides only whether a large model's cases must be split.
    """

    def need(case: Case) -> int:
        runtime = 600_000_000 if case.backend == "pytorch" else 250_000_000
        return runtime + int(2.2 * artifacts[case].bytes)

    base = [case for case in cases if reference and case in (reference, twin_of(reference))]
    rest = [case for case in cases if case not in base]
    room = int(free * 0.8) - sum(map(need, base))
    groups: list[list[Case]] = []
    used = 0
    for case in rest:
        if not groups or used + need(case) > room:
            groups.append(list(base))
            used = 0
        groups[-1].append(case)
        used += need(case)
    return groups or [base]


def twin_of(case: Case) -> Case:
    """The case's twin, for the A/A check."""
    return msgspec.structs.replace(case, copy=1)


class Estimate(Value, frozen=True, kw_only=True):
    """How long a run will take, roughly: seconds of building what is not cached, and of measuring."""

    to_build: int
    build_seconds: float
    round_seconds: float
    rounds: int

    @property
    def seconds(self) -> float:
        return self.build_seconds + self.round_seconds * self.rounds


def estimate(plan: Plan, cache: Cache, recipes: Sequence[dict[str, object] | None], weights_bytes: int) -> Estimate:
    """From the sizes: a 90 MB encoder took 8 s to export, 15 s to quantize and 15 ms a call on two cores (see
    reports/bench). A guess, shown as one; the run itself keeps its budget by what it sees."""
    wanted = {msgspec.json.encode(r, order="deterministic"): r for r in recipes if r is not None}
    missing = [r for r in wanted.values() if cache.get(dict(r)) is None]
    scale = max(0.3, weights_bytes / 90e6)
    build = sum(4 * scale + 2 + (3 * scale if r.get("kind") == "quantize" else 0) for r in missing)
    build += 6 if missing else 0
    cases = len(plan.runnable) + (1 if plan.reference else 0)
    call = 0.012 * scale * sum(s.batch * max(s.length, 1) for s in plan.workload.shapes) / 128
    turn = len(plan.workload.shapes) * max(plan.workload.burst_seconds, 2 * call) + call + 0.02
    return Estimate(
        to_build=len(missing),
        build_seconds=build,
        round_seconds=cases * (1.2 + plan.workload.blocks * turn),
        rounds=plan.workload.rounds,
    )
