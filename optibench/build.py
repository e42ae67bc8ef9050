"""Building from the parent's side: what is in the cache is taken, the rest is asked of a builder process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from optibench import builder, inputs, plugins
from optibench.cache import Cache, Entry
from optibench.errors import CaseFailed, OptibenchError, Unsupported
from optibench.execute.base import LaneDied
from optibench.execute.process import ProcessLane
from optibench.plan import Plan
from optibench.values import Artifact, Case

BUILD_LIMIT_SECONDS = 3600.0


@dataclass
class Workshop:
    """Makes a plan's inputs and artifacts. A context manager: the builder ends with it, since nothing else may use
    the cores, or the memory, while cases are measured."""

    plan: Plan
    cache: Cache
    log: Path
    say: Callable[[str], None]
    _builder: ProcessLane | None = None
    _rows: inputs.Rows | None = field(default=None, repr=False)

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._builder:
            self._builder.close()
            self._builder = None

    def sources(self) -> inputs.Sources:
        """Which data judge and which calibrate. Reads them, so that what is wrong with them is said first."""
        if self._rows is None:
            self._rows = inputs.rows_of(self.plan.model, self.plan.workload)
        return self._rows.sources

    def inputs(self) -> Entry:
        """The cache entry of the plan's inputs, made if it is not there."""
        recipe = inputs.recipe(self.plan.model, self.plan.workload, self.sources())
        entry = self.cache.get(recipe)
        if entry is None:
            self.say("preparing inputs")
            reply = self._ask(
                builder.MakeInputs(cache=str(self.cache.root), model=self.plan.model, workload=self.plan.workload)
            )
            if "error" in reply:
                raise OptibenchError(reply["error"])
            entry = self.cache.get(recipe)
        assert entry is not None, "the builder said that it made the inputs"
        return entry

    def artifact(self, case: Case) -> Artifact:
        """The case's artifact. Raises Unsupported (skip it), CaseFailed or LaneDied (it failed), OptibenchError."""
        build = self.plan.build(case, str(self.cache.path(self.inputs().key)), self.sources().calibration.sha256)
        backend = plugins.load("backend", build.backend)
        recipe = backend.recipe(build)
        if recipe is None or self.cache.get(recipe):
            artifact: Artifact = backend.prepare(build, self.cache)  # at hand: no builder is needed
            return artifact
        try:
            reply = self._ask(builder.Prepare(cache=str(self.cache.root), build=build))
        except LaneDied as error:
            self._builder = None  # the next build gets a fresh one
            raise LaneDied(f"the builder died: {error}") from error
        if "error" in reply:
            kinds = {"skipped": Unsupported, "failed": CaseFailed}
            raise kinds.get(reply["kind"], OptibenchError)(reply["error"])
        return msgspec.convert(reply["artifact"], Artifact)

    def _ask(self, request: builder.Request) -> dict[str, Any]:
        if self._builder is None:
            self._builder = ProcessLane("optibench.builder", {}, self.log)
        reply = self._builder.ask(request, BUILD_LIMIT_SECONDS)
        while "saying" in reply:  # an engine takes minutes: what the builder tells is shown as it comes
            self.say(reply["saying"])
            reply = self._builder.listen(BUILD_LIMIT_SECONDS)
        return reply
