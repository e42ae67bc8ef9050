"""What a run of two sides is held against: another revision or model, an exported build, or other package versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from optibench import environment, models, package, plugins
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.plan import Plan, Request, Side, plan_of, with_against
from optibench.values import Host, Model, Target

Say = Callable[[str], None]


def two_sided(request: Request, model: Model, known: dict[str, Target], host: Host, cache: Cache, say: Say) -> Plan:
    """The plan of a run that holds the request's cases twice: as they are, and as ``request.against`` (or
    ``against_env``) makes them. ``against`` is, in this order: a folder that ``optibench export`` wrote; a model (a
    folder, a file, an alias, a Hub id); a pin of a package's version; else a revision of the same Hub id."""
    against, env = request.against, request.against_env
    if against and env:
        raise OptibenchError("Give one other side: --against or --against-env, not both.")
    if against and (Path(against).expanduser() / package.MANIFEST).is_file():
        return _against_build(Path(against).expanduser(), request, model, known, host)
    plan = plan_of(request, model, known, host)
    if env:
        return with_against(plan, _environment_side(env, plan, cache, say))
    assert against is not None, "asked for only where there is another side"
    if not _is_model(against) and environment.is_pin(against):
        return with_against(plan, _environment_side(against, plan, cache, say))
    name = against if _is_model(against) else _other_revision(request.model, against, model)
    other = models.resolve(
        name,
        task=model.ref.task,
        trust_remote_code=request.trust_remote_code,
        allow_pickle=request.allow_pickle,
        say=say,
    )
    return with_against(plan, Side(model=other))


def _against_build(folder: Path, request: Request, model: Model, known: dict[str, Target], host: Host) -> Plan:
    """Only the exported case is compared. Its own tokenizer and labels go with it."""
    found = package.opened(folder)
    case = found.case
    if found.model.ref.task != model.ref.task:
        raise OptibenchError(
            f"{folder} was exported for {found.model.ref.task}, and {model.ref.id} is run for {model.ref.task}: "
            "nothing compares the two."
        )
    asked = (request.backends or (case.backend,), request.precisions or (case.precision,))
    if case.backend not in asked[0] or case.precision not in asked[1]:
        raise OptibenchError(f"{folder} holds {case.name}, which is not among the backends and precisions asked for.")
    request = msgspec.structs.replace(
        request, targets=(case.target,), backends=(case.backend,), precisions=(case.precision,)
    )
    plan = plan_of(request, model, known, host)
    if skip := next((planned.skip for planned in plan.cases if planned.case == case), None):
        raise OptibenchError(f"{folder} holds {case.name}, which cannot run here: {skip}.")
    return with_against(plan, Side(model=found.model, artifact=found.artifact), only=case)


def _environment_side(asked: str, plan: Plan, cache: Cache, say: Say) -> Side:
    """The same model in other package versions: an environment's folder, a file of pins, or a pin."""
    path = Path(asked).expanduser()
    if path.is_dir():
        python = environment.interpreter(path)
        if not python.exists():
            raise OptibenchError(f"{path} is no virtual environment: it has no bin/python.")
        python = python.absolute()
    else:
        if path.is_file():
            pins = environment.pins_from_text(path.read_text(encoding="utf-8", errors="replace"), path.name)
        elif environment.is_pin(asked):
            pins = environment.pins_from_text(asked, "the pin")
        else:
            raise OptibenchError(
                f"There is no file or folder {asked}, and it is no pin such as onnxruntime==1.30.0. Give a constraints "
                "file, a pin, or the folder of a virtual environment."
            )
        extras = {plugins.load("backend", case.backend).EXTRA for case in plan.runnable} - {""}
        python = environment.made(pins, sorted(extras), cache, say)
    return Side(model=plan.model, python=str(python), packages=environment.packages_of(python, cache))


def _is_model(name: str) -> bool:
    """Whether a name is that of a model, and not of a revision: a branch with a slash needs its Hub id before it."""
    head = name.partition("@")[0]
    return (
        name in models.aliases()
        or name.startswith(("package:", ".", "/", "~"))
        or models.local_path(name) is not None
        or head.count("/") == 1
    )


def _other_revision(asked: str, revision: str, model: Model) -> str:
    if model.ref.source != "hub":
        raise OptibenchError(
            f"{asked} is no model of the Hub, so it has no revision {revision!r}; and there is no folder or file of "
            "that name. Give a folder, an exported build, a Hub id, or a pin such as onnxruntime==1.30.0."
        )
    return f"{model.ref.id}@{revision}"
