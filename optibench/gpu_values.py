"""What is kept of a GPU: who it is, what its sensors said, the energy it took, and what its maker promises of it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from optibench.value import Value


class Gpu(Value, frozen=True, kw_only=True):
    """An NVIDIA GPU, or a MIG instance of one (of the GPU with the UUID ``part_of``); ``number`` is nvidia-smi's."""

    number: int
    uuid: str
    name: str
    compute_capability: str
    part_of: str = ""


class Nvidia(Value, frozen=True, kw_only=True):
    """NVIDIA's driver, the newest CUDA that it runs, and the GPUs that may be used; ``trouble``: what is wrong with it
    or with one of them, or why there are none."""

    driver: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    trouble: str | None = None


class GpuReading(Value, frozen=True, kw_only=True):
    """A GPU's sensors at one moment (None: it does not tell). ``held_back``: what keeps its clock down, in words.
    ``process_bytes``: device memory of the process that is measured."""

    sm_mhz: int | None = None
    memory_mhz: int | None = None
    celsius: int | None = None
    watts: float | None = None
    held_back: tuple[str, ...] = ()
    process_bytes: int | None = None


class GpuRound(Value, frozen=True, kw_only=True):
    """The GPU that a process was measured on, before its round's processes started and after they ended.
    ``limit_celsius``: from where on it slows itself down."""

    gpu: Gpu
    before: GpuReading | None = None
    after: GpuReading | None = None
    limit_celsius: int | None = None


class Energy(Value, frozen=True, kw_only=True):
    """What the whole GPU took over ``calls`` in a row, from one step of its counter to another (energy.py)."""

    joules: float
    calls: int
    seconds: float


class Peaks(Value, frozen=True, kw_only=True):
    """What its maker publishes of a card, without sparsity; by precision, a multiply-add counting as two operations.
    ``card`` is how the card's name ends (* is the rest of a word), ``source`` the data sheet."""

    card: str
    source: str
    tera_operations_per_second: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}
    memory_gigabytes_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Published(Value, frozen=True, kw_only=True):
    """A limit that was not measured, as the maker's data sheet (``source``) gives it: operations, or bytes."""

    per_second: float
    source: str
