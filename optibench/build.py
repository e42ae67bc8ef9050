"""Building from the parent's side: what is in the cache is taken, the rest is asked of a builder process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from optibench import arithmetic, builder, environment, gpus, inputs, plugins
from optibench.cache import Cache, Entry
from optibench.errors import CaseFailed, OptibenchError, Unsupported
from optibench.estimate import Estimate, estimate
from optibench.execute.base import LaneDied
from optibench.execute.process import ProcessLane
from optibench.plan import Plan
from optibench.values import Artifact, Case, Model

BUILD_LIMIT_SECONDS = 3600.0


@dataclass
class Workshop:
    """Makes a plan's inputs and artifacts. A context manager: the builder ends with it, since nothing else may use
    the cores, or the memory, while cases are measured."""

    plan: Plan
    cache: Cache
    log: Path
    say: Callable[[str], None]
    _builders: dict[tuple[str, str], ProcessLane] = field(default_factory=dict)
    """By the interpreter that they run in, and the GPU that they see."""
    _rows: inputs.Rows | None = field(default=None, repr=False)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in self._builders.values():
            lane.close()
        self._builders.clear()
        self.cache.clear_leftovers()  # a builder that is killed in the middle of a build cannot tidy up after itself

    def sources(self) -> inputs.Sources:
        """Which data judge and which calibrate. Reads them, so that what is wrong with them is said first."""
        if self._rows is None:
            self._rows = inputs.rows_of(self.plan.model, self.plan.workload)
        return self._rows.sources

    def inputs(self, model: Model) -> Entry:
        """The cache entry of the inputs of one side's model, made from the same rows for all if it is not there.
        Always in this environment: package versions that are compared do not change what is asked."""
        recipe = inputs.recipe(model, self.plan.workload, self.sources())
        entry = self.cache.get(recipe)
        if entry is None:
            self.say("preparing inputs")
            reply = self._ask(builder.MakeInputs(cache=str(self.cache.root), model=model, workload=self.plan.workload))
            if "error" in reply:
                raise OptibenchError(reply["error"])
            entry = self.cache.get(recipe)
        assert entry is not None, "the builder said that it made the inputs"
        return entry

    def arithmetic(self) -> dict[str, Any]:
        """What arithmetic.count tells of the plan's model, made if it is not there. Raises OptibenchError (which
        says why it cannot be told) and LaneDied."""
        model, shapes = self.plan.model, self.plan.workload.shapes
        recipe = arithmetic.recipe(model, shapes)
        entry = self.cache.get(recipe)
        if entry is None:
            self.say("counting multiply-adds")
            folder = self.cache.path(self.inputs(model).key)
            request = builder.Count(cache=str(self.cache.root), model=model, inputs=str(folder), shapes=shapes)
            try:
                reply = self._ask(request)
            except LaneDied:
                self._builders.pop(self._place(), None)
                raise
            if "error" in reply:
                raise OptibenchError(reply["error"])
            entry = self.cache.get(recipe)
        assert entry is not None, "the builder said that it counted"
        return entry.facts

    def estimate(self) -> Estimate:
        """How long the plan will take, by what is not in the cache yet. Nothing is built."""
        calibration = self.sources().calibration.sha256
        recipes = []
        for case in self.plan.runnable:
            side = self.plan.side(case)
            recipes.append(inputs.recipe(side.model, self.plan.workload, self.sources()))
            if side.artifact is None:
                recipe = plugins.load("backend", case.backend).recipe(self.plan.build(case, "", calibration))
                # What another environment has built already, only its own builder could tell.
                recipes.append({**recipe, "packages": side.packages} if recipe and side.python else recipe)
        weights = Path(self.plan.model.path)
        size = sum(f.stat().st_size for f in ([weights] if weights.is_file() else weights.glob("*.safetensors")))
        return estimate(self.plan, self.cache, recipes, size)

    def artifact(self, case: Case) -> Artifact:
        """The case's artifact. Raises Unsupported (skip it), CaseFailed or LaneDied (it failed), OptibenchError."""
        side = self.plan.side(case)
        if side.artifact:
            return side.artifact
        folder = self.cache.path(self.inputs(side.model).key)
        build = self.plan.build(case, str(folder), self.sources().calibration.sha256)
        if side.python is None:
            backend = plugins.load("backend", build.backend)
            recipe = backend.recipe(build)
            if recipe is None or self.cache.get(recipe):
                artifact: Artifact = backend.prepare(build, self.cache)  # at hand: no builder is needed
                return artifact
        try:
            reply = self._ask(builder.Prepare(cache=str(self.cache.root), build=build), side.python, build.device)
        except LaneDied as error:
            self._builders.pop(self._place(side.python, build.device))  # the next build gets a fresh one
            raise LaneDied(f"the builder died: {error}") from error
        if "error" in reply:
            kinds = {"skipped": Unsupported, "failed": CaseFailed}
            raise kinds.get(reply["kind"], OptibenchError)(reply["error"])
        return msgspec.convert(reply["artifact"], Artifact)

    def _place(self, python: str | None = None, device: str = "") -> tuple[str, str]:
        """Where something is built. A build that needs no GPU goes where those that do are made: one builder more would
        load the model once more."""
        return python or sys.executable, device or next(iter(self.plan.devices.values()), "")

    def _ask(self, request: builder.Request, python: str | None = None, device: str = "") -> dict[str, Any]:
        place = self._place(python, device)
        if place not in self._builders:
            env = environment.variables(self.cache) if python else {}
            env |= {gpus.VISIBLE: place[1]} if place[1] else {}
            self._builders[place] = ProcessLane("optibench.builder", env, self.log, place[0])
        reply = self._builders[place].ask(request, BUILD_LIMIT_SECONDS)
        while "saying" in reply:  # an engine takes minutes: what the builder tells is shown as it comes
            self.say(reply["saying"])
            reply = self._builders[place].listen(BUILD_LIMIT_SECONDS)
        return reply
