"""comparison.json as values: what others script against. Its JSON Schema is made from these types.

Every number here is computed from records by compare.py; None stands where there is nothing honest to say.
"""

from __future__ import annotations

from typing import Any, Literal

from optibench.gpu_values import Gpu
from optibench.values import DataRef, Executed, Finding, Host, ModelRef, Parity, Phase, Shape, Status, Value

COMPARISON_SCHEMA = 1

Verdict = Literal["faster", "slower", "same", "unknown", "reference"]


class Interval(Value, frozen=True, kw_only=True):
    """An estimate with its 95% interval."""

    low: float
    mid: float
    high: float


class Latency(Value, frozen=True, kw_only=True):
    """Quantiles over undisturbed calls; None where there are too few samples for it to mean anything."""

    p50: float | None
    p90: float | None
    p99: float | None


class BurstCount(Value, frozen=True, kw_only=True):
    """How many bursts were compared, and how many were left out because something else used the cores."""

    kept: int
    disturbed: int


class BuildSeconds(Value, frozen=True, kw_only=True):
    """Seconds of each phase of building; ``cached``: the artifact was there already."""

    export: float
    quantize: float
    compile: float
    cached: bool


class ScoreResult(Value, frozen=True, kw_only=True):
    """A metric's value, the reference's, and the change (value - reference) with its paired 95% interval."""

    metric: str
    value: float
    reference: float
    count: int
    change: Interval


class Generation(Value, frozen=True, kw_only=True):
    """A generation of all its new tokens, put together from the medians of its phases: the time to the first token, of
    each one after it, and of all; tokens a second, of all rows of the batch; and the speed-up over the reference's
    time for the same."""

    first_token_seconds: float
    token_seconds: float
    seconds: float
    tokens_per_second: float
    speedup: float | None = None


class Agreement(Value, frozen=True, kw_only=True):
    """What greedy decoding made of the same prompts as the reference's did: how many of the ``tokens`` are ``equal``
    place by place, and where a prompt's texts part: the prompt's number and that of the first token that differs, both
    from 1. After that token the two go on from different texts, so that few further ones are equal by more than chance.
    """

    prompts: int
    tokens: int
    equal: int
    parts: tuple[tuple[int, int], ...] = ()


class Limits(Value, frozen=True, kw_only=True):
    """The most that a target reached in this run, and how that was seen.

    ``operations_per_second`` by the precision executed, a multiply-add counting as two. ``how`` and ``missing`` (why a
    limit is not known) are by precision, ``memory`` and ``multiply-adds``; so is ``published``, the data sheet of those
    that were not measured but read off it.
    """

    operations_per_second: dict[str, float] = {}
    memory_bytes_per_second: float | None = None
    how: dict[str, str] = {}
    missing: dict[str, str] = {}
    published: dict[str, str] = {}


class CaseResult(Value, frozen=True, kw_only=True):
    """One case at one shape."""

    case: str
    target: str
    backend: str
    precision: str
    variant: str = ""
    """What side of a run of two it is of; "" is what the run is about."""
    batch: int
    length: int
    phase: Phase = ""
    """Of text that is generated: what a call is (values.Shape)."""
    new_tokens: int = 0
    status: Status
    reason: str | None = None
    latency_seconds: Latency | None = None
    samples: int = 0
    rounds: int = 0
    bursts: BurstCount = BurstCount(kept=0, disturbed=0)
    speedup: Interval | None = None
    verdict: Verdict = "unknown"
    verdict_reason: str | None = None
    """Why it is unknown, where that is more than too few rounds: "machine busy"."""
    throughput_per_second: float | None = None
    cold_start_seconds: float | None = None
    load_seconds: float | None = None
    first_call_seconds: float | None = None
    build_seconds: BuildSeconds | None = None
    peak_memory_bytes: int | None = None
    artifact_bytes: int | None = None
    artifact_sha256: str | None = None
    executed: Executed | None = None
    device_seconds: float | None = None
    """What the device itself took for a call, by its own events, of which p50 is the host's view; None where a backend
    does not tell, and at other shapes than the first."""
    device_memory_bytes: int | None = None
    """The most that the process held on the device; None where the driver does not tell."""
    energy_joules_per_call: float | None = None
    """Of the whole GPU, in a run of calls of its own; None where it has no counter."""
    scores: tuple[ScoreResult, ...] = ()
    parity: Parity | None = None
    agreement: Agreement | None = None
    """Of text that is generated: whether greedy decoding makes the reference's tokens."""
    cache_bytes: int | None = None
    """What the keys and values of a whole generation take; of decode alone."""
    bandwidth_share: float | None = None
    """Of decode: the bytes of weights and cache that a token reads, over its p50, as a share of what the target's
    memory reached. None where the weights fit in the processor's cache, or what was reached is not known."""
    generation: Generation | None = None
    """Of decode: the whole generation, prefill and all."""
    within_floor: bool | None = None
    multiply_adds: int | None = None
    """Of one call; None where they cannot be counted (``limits`` says why)."""
    peak_share: float | None = None
    """Arithmetic of a call over its p50, as a share of what the target reached (or, where that could not be measured,
    is said to reach: ``limits`` tells) in the precision executed."""
    limit: Literal["compute", "memory"] | None = None
    """Which limit lies lower: reading the weights, or computing with them (roofline model)."""
    padding_share: float | None = None
    """At the longest of several lengths, of more rows than one: what share of the time would go into padding, were this
    batch filled up from rows of every measured length, equally many of each (padding.py)."""
    notes: tuple[str, ...] = ()
    """Why it is slower than its fp32 sibling, what its build had to do differently, and the like."""

    @property
    def shape(self) -> Shape:
        """The shape that this row was measured at."""
        return Shape(batch=self.batch, length=self.length, phase=self.phase, new_tokens=self.new_tokens)


class WorkloadResult(Value, frozen=True, kw_only=True):
    """What all cases were asked to do."""

    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    dataset: DataRef | None
    calibration: DataRef | None
    seed: int
    rounds: int
    tier: Literal["official", "quick"]
    accuracy_floor: float


class Noise(Value, frozen=True, kw_only=True):
    """The A/A check: the reference against its own twin. ``floor`` is the half width of that interval as a ratio:
    differences below it cannot be told apart here. None where there was no twin to compare. ``settled``: every
    warm-up reached a standing median. ``disturbed_share``: of the bursts, those that lost CPU time to others;
    ``slow_share``: of the blocks, those in which the whole machine was slower than at its best by over 10%."""

    aa_ratio: Interval | None
    floor: float | None
    settled: bool
    disturbed_share: float
    slow_share: float = 0.0


class Recommended(Value, frozen=True, kw_only=True):
    """The fastest case that keeps the accuracy."""

    case: str
    sentence: str


class Comparison(Value, frozen=True, kw_only=True):
    """A whole run, as comparison.json holds it."""

    schema: int = COMPARISON_SCHEMA
    optibench_version: str
    created: str
    command: str
    model: ModelRef
    workload: WorkloadResult
    host: Host
    noise: Noise
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    """All that the doctor found, fine or not; what is not stands among the warnings too."""
    recommended: Recommended | None
    recommended_reason: str | None = None
    """Why nothing is recommended."""
    reference: str | None = None
    """Name of the reference case."""
    limits: dict[str, Limits] = {}
    """By target."""
    gpus: dict[str, Gpu] = {}
    """By target: the GPU that its cases ran on."""
    cases: tuple[CaseResult, ...]


class Comparisons(Value, frozen=True, kw_only=True):
    """Several models' runs by one command, one after the other."""

    comparisons: tuple[Comparison, ...]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of comparison.json (draft 2020-12)."""
    import msgspec

    schema = msgspec.json.schema(Comparison)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "optibench comparison", **schema}
