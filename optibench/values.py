"""The values that flow through the pipe: frozen, keyword-only, strict JSON in and out.

    request -> Plan(Job...) -> Model -> Artifact -> rounds of turns -> Measurement + Score -> Record -> Comparison

A *case* is one model x target x backend x precision; its workload is a list of shapes (batch x length) that one
process runs. A *job* is a case in one round; one job is one fresh process and makes one *record*. Whatever can be
computed from records (statistics, verdicts) is not stored in them.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec

from optibench.gpu_values import Energy, GpuReading, GpuRound, Nvidia, Peaks, Published
from optibench.value import Value as Value

RECORD_SCHEMA = 1

PRECISIONS = (
    "fp32",
    "tf32",
    "bf16",
    "fp16",
    "int8",
    "int8-dynamic",
    "int8-weights",
    "int4-weights",
    "int4-awq-weights",
    "int4-gptq-weights",
    "fp8",
)
"""Every precision name. ``int8``: weights and activations, calibrated; ``int8-dynamic``: weights int8, activations
quantized while running; ``int8-weights`` and ``int4-weights``: weights only, computed in floating point;
``int4-awq-weights`` and ``int4-gptq-weights``: rounded by what those methods see of data."""

FLOATING = ("fp32", "tf32", "bf16", "fp16")

LIMITS = "limits"
"""Stands in place of a backend in the records of what the machine reaches at best, such as cpu/limits/fp32."""

Status = Literal["ok", "skipped", "failed"]
Phase = Literal["", "prefill", "decode"]
Source = Literal["hub", "local", "package", "onnx", "openvino"]


def digest_of(value: Any) -> str:
    """The sha256 (hex) of a value's canonical JSON: the same content gives the same digest in any process."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


class ModelRef(Value, frozen=True, kw_only=True):
    """Which model: an id, the exact revision (Hub commit, or ``sha256:...`` of its files), its task and where from."""

    id: str
    revision: str
    task: str
    source: Source
    weights_sha256: str


class Model(Value, frozen=True, kw_only=True):
    """A model whose files are at hand.

    ``path`` is a directory in Hugging Face format, or the .onnx or .xml file of a model given as a graph.
    ``config`` is its config.json; ``labels`` are in the order of the logits; ``max_length`` is the largest number of
    positions (None: no limit known); ``pooling`` says how token vectors become one (mean, cls, max or last).
    """

    ref: ModelRef
    path: str
    config: dict[str, Any] = {}
    labels: tuple[str, ...] = ()
    max_length: int | None = None
    pooling: str = "mean"
    trust_remote_code: bool = False
    allow_pickle: bool = False

    @property
    def is_graph(self) -> bool:
        """Whether the user gave a finished graph (.onnx, .xml), which is its own reference."""
        return self.ref.source in ("onnx", "openvino")


class Target(Value, frozen=True, kw_only=True):
    """One hardware target, as its TOML file says it; ``match`` is what the machine must have."""

    name: str
    description: str
    device: Literal["cpu", "cuda", "intel-gpu", "intel-npu", "apple", "qualcomm-npu"]
    backends: dict[str, tuple[str, ...]]
    """Backend name to the precisions it is tried in by default here, in the order of the report."""
    precisions: tuple[str, ...]
    match: dict[str, Any] = {}
    env: dict[str, str] = {}
    options: dict[str, dict[str, Any]] = {}
    peaks: tuple[Peaks, ...] = ()
    open_limit_seconds: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    """What a worker that opens an artifact, makes its first call and has not answered counts as hung after: compiling a
    large model may take minutes, a process that hangs must end some time."""


class Shape(Value, frozen=True, kw_only=True, order=True, omit_defaults=True):
    """One input shape: rows, and tokens (of sound: samples) a row; 0 where the model's inputs have no length.

    Of text that is generated there are two for each prompt, timed apart. ``prefill``: a call runs the whole prompt to
    the first new token. ``decode``: a call makes one token, and ``new_tokens`` calls follow the prompt.
    """

    batch: int
    length: int
    phase: Phase = ""
    new_tokens: int = 0

    @property
    def size(self) -> str:
        """Of the inputs: shapes of the same size have the same."""
        return f"{self.batch}x{self.length}" if self.length else f"{self.batch}"

    @property
    def name(self) -> str:
        return f"{self.size} {self.phase}".rstrip()


class Workload(Value, frozen=True, kw_only=True):
    """What every case is asked to do, and how long it is measured."""

    shapes: tuple[Shape, ...]
    dataset: str | None = None
    columns: dict[str, str] = {}
    calibration: str | None = None
    input_shapes: dict[str, str] = {}
    """Of a graph of unknown purpose: input to its shape and type, such as 2x80x3000:float32."""
    input_file: str | None = None
    """An .npz with real arrays for such a graph's inputs."""
    limit: int | None = None
    seed: int = 0
    rounds: int = 5
    max_rounds: int = 20
    blocks: int = 25
    burst_seconds: float = 0.06
    budget_seconds: float = 300.0
    accuracy_floor: float = 0.99
    tier: Literal["official", "quick"] = "official"

    @property
    def several(self) -> bool:
        """Whether it has several sizes, and not just the phases of one."""
        return len({shape.size for shape in self.shapes}) > 1

    @property
    def least_blocks(self) -> int:
        """Of a round at each shape, however short the time. Of several sizes the slow ones have fewer: a call at 8 rows
        of 512 tokens takes as long as thirty at one of 128."""
        return min(self.blocks, max(3, self.blocks // 6) if self.several else 10)

    @property
    def least_calls(self) -> int:
        """Of a burst. Where there are several shapes, one call of a slow one will do: its bursts take most of the
        round."""
        return 2 if len(self.shapes) == 1 else 1


class Case(Value, frozen=True, kw_only=True):
    """One build of the model on one target. ``copy`` 1 is the reference's twin for the A/A check. ``variant`` "" is
    what the run is about; another name is the same build of something it is held against (an older revision, older
    package versions), measured in the same rounds."""

    target: str
    backend: str
    precision: str
    copy: int = 0
    variant: str = ""

    @property
    def is_limit(self) -> bool:
        """Whether this is no build at all, but one of the machine's limits (limits.py); ``precision`` says which."""
        return self.backend == LIMITS

    @property
    def name(self) -> str:
        build = f"{self.target}/{self.backend}/{self.precision}"
        return (f"{self.variant}:" if self.variant else "") + build + ("#2" if self.copy else "")


class Build(Value, frozen=True, kw_only=True):
    """What a backend needs to know to make an artifact; ``inputs`` is the folder that inputs.py wrote."""

    model: Model
    target: Target
    backend: str
    precision: str
    inputs: str
    calibration_sha256: str
    device: str = ""
    """The UUID of the GPU that it is built for and on ("": none is chosen)."""


class BuildTimes(Value, frozen=True, kw_only=True):
    """Seconds that each phase of building took; ``cached`` when nothing had to be done in this run."""

    export: float = 0.0
    quantize: float = 0.0
    compile: float = 0.0
    cached: bool = False


class Artifact(Value, frozen=True, kw_only=True):
    """A finished build: a file or folder that a backend opens. ``parent_sha256`` is what it was made from; ``longest``
    the tokens of the longest text that its graph takes (None: no limit of its own)."""

    format: str
    path: str
    sha256: str
    bytes: int
    parent_sha256: str | None = None
    longest: int | None = None
    recipe: dict[str, Any] = {}
    tools: dict[str, str] = {}
    build_seconds: BuildTimes = BuildTimes()
    notes: tuple[str, ...] = ()


class Job(Value, frozen=True, kw_only=True):
    """A case in one round: all that its worker process is told."""

    case: Case
    model: Model
    target: Target
    round: int
    artifact: Artifact
    inputs: str
    shapes: tuple[Shape, ...]
    threads: int
    seed: int = 0
    trust_remote_code: bool = False
    device: str = ""
    """The UUID of the GPU that the process may see ("": none is chosen)."""

    @property
    def generates(self) -> bool:
        """Whether tokens are generated: then a backend opens a GenerativeSession (backends/base.py)."""
        return any(shape.phase for shape in self.shapes)


class Burst(Value, frozen=True, kw_only=True):
    """A few calls in a row: wall time of each, the process's CPU time and involuntary switches over all of them, and
    what it burnt while it waited for its turn (``idle_cpu_ns`` of ``idle_wall_ns``)."""

    block: int
    wall_ns: Annotated[tuple[Annotated[int, msgspec.Meta(gt=0)], ...], msgspec.Meta(min_length=1)]
    cpu_ns: int
    switches: int
    idle_cpu_ns: int = 0
    idle_wall_ns: int = 0


class Series(Value, frozen=True, kw_only=True):
    """One process's bursts at one shape. ``peak_bytes`` is the process's peak resident memory after warming up this
    shape and all smaller ones."""

    shape: Shape
    first_call_seconds: float
    warmup_calls: int
    settled: bool
    peak_bytes: int
    bursts: tuple[Burst, ...] = ()
    readings: tuple[GpuReading, ...] = ()
    """Of the GPU, right after each burst; () where there is none that tells."""
    energy: Energy | None = None
    cache_bytes: int | None = None
    """Of a generation: what its keys and values take at its end, as the session tells it."""


class Executed(Value, frozen=True, kw_only=True):
    """What the runtime really did, asked of the runtime: not what it was told to do.

    ``precision`` is that of the multiplications; ``operations`` counts the compute-heavy operations by precision;
    ``fallback_nodes`` are nodes that another device runs than the one asked for.
    """

    provider: str
    precision: str
    threads: int
    fallback_nodes: int = 0
    operations: dict[str, int] = {}
    detail: dict[str, Any] = {}


class Measurement(Value, frozen=True, kw_only=True):
    """What one process showed. ``alone``: nothing else was starting, so load and cold start are comparable."""

    load_seconds: float
    cold_start_seconds: float
    alone: bool
    series: tuple[Series, ...]
    executed: Executed | None = None
    """Asked once a case, in the round that also judges its accuracy."""


class Gauged(Value, frozen=True, kw_only=True):
    """One burst at a limit of the machine (limits.py). ``amount`` is what each call worked through: operations, a
    multiply-add counting as two, or bytes. ``detail`` says how, in words under ``how``."""

    amount: int
    burst: Burst
    detail: dict[str, Any] = {}


class Score(Value, frozen=True, kw_only=True):
    """One metric on labelled data, for paired tests: ``labels`` holds one number an example, and so does
    ``predictions``, or a few where the metric is made of several counts (of entities: right, found)."""

    metric: str
    value: float
    count: int
    predictions: tuple[float | tuple[float, ...], ...] = ()
    labels: tuple[float, ...] = ()


class Parity(Value, frozen=True, kw_only=True):
    """How near the outputs are to the reference's, over the same inputs (None: not defined for this task)."""

    cosine: float
    cosine_min: float
    max_abs_difference: float
    top1_agreement: float | None = None
    count: int = 0


class DataRef(Value, frozen=True, kw_only=True):
    """A set of examples: its name, the sha256 of the rows as used, and how many."""

    id: str
    sha256: str
    count: int
    rows: str = ""
    """Fingerprints of what a model is given of each row (data.fingerprints), so that a row of two sets shows."""


class Host(Value, frozen=True, kw_only=True):
    """The machine, as far as it bears on a measurement."""

    cpu_model: str
    isa: tuple[str, ...]
    cores: int
    affinity: tuple[int, ...]
    cgroup_limits: dict[str, Any]
    governor: str | None
    memory_bytes: int
    gpus: tuple[str, ...]
    os: str
    python: str
    packages: dict[str, str]
    nvidia: Nvidia | None = None
    """None: no driver of NVIDIA's that could be asked."""


class Finding(Value, frozen=True, kw_only=True):
    """One thing about the machine that bears on measurements (doctor.py): what was found, whether that is ``fine``,
    and where it is not what it costs and how to mend it."""

    name: str
    found: str
    fine: bool
    costs: str = ""
    mend: str = ""


class Record(Value, frozen=True, kw_only=True):
    """What one job showed: a line of records.jsonl. Raw samples, no statistics."""

    schema: int = RECORD_SCHEMA
    case: Case
    model: ModelRef
    workload: Workload
    round: int
    group: int = 0
    """Cases that lived together: where memory is short a round has several groups, each with its own reference."""
    threads: int
    status: Status
    reason: str | None = None
    host: Host
    artifact: Artifact | None = None
    measurement: Measurement | None = None
    scores: tuple[Score, ...] = ()
    parity: Parity | None = None
    answers_sha256: str | None = None
    generated: tuple[tuple[int, ...], ...] = ()
    """The tokens that greedy decoding made of each of the inputs' prompts."""
    dataset: DataRef | None = None
    calibration: DataRef | None = None
    findings: tuple[Finding, ...] = ()
    """What the doctor found over the round, so that two runs can be told apart by it."""
    multiply_adds: dict[str, int] = {}
    """Of one call, by the shape's name; empty where they cannot be counted."""
    multiplied_weights: int | None = None
    """How many numbers of the model one call multiplies by; None where that is not known."""
    gauged: tuple[Gauged, ...] = ()
    """In place of a measurement, in the record of a limit of the machine."""
    published: Published | None = None
    """In the record of a limit that could not be measured."""
    gpu: GpuRound | None = None
    created: str = ""
    sha256: str = ""
    """Of all the rest, as the line in records.jsonl says it: the store fills it in and checks it."""

    @property
    def case_digest(self) -> str:
        return digest_of((self.case, self.model, self.workload.shapes))


def mislabelled(asked: str, executed: str) -> str | None:
    """Why a case must not stand under its label: the runtime ran another precision. None if it ran what was asked,
    or if it does not say (``none``, ``other``)."""
    if executed in ("none", "other"):
        return None
    if asked.endswith("-weights"):
        fine = executed in (*FLOATING, "weights")
    else:
        fine = executed == asked.partition("-")[0]
    return None if fine else f"asked for {asked}, but {executed} was executed"
