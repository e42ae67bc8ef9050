"""What NVIDIA's management library (NVML, by nvidia-ml-py) tells of GPUs: names, settings, sensors, who uses them.

A driver that hangs keeps whoever calls it, and cannot be interrupted. So this is called only where that cannot stop a
run: in a process of its own with a time limit (``python -m optibench.nvml``, started by gpus.py), and in workers, which
have one. No CUDA context is made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from optibench.gpu_values import Gpu, GpuReading, Nvidia
from optibench.value import Value

LIBRARY = "libnvidia-ml.so.1"
HELD_BACK = {
    "nvmlClocksEventReasonGpuIdle": "idle",
    "nvmlClocksEventReasonApplicationsClocksSetting": "applications clocks",
    "nvmlClocksEventReasonSwPowerCap": "power limit",
    "nvmlClocksEventReasonHwSlowdown": "hardware slowdown",
    "nvmlClocksEventReasonSyncBoost": "sync boost",
    "nvmlClocksEventReasonSwThermalSlowdown": "heat",
    "nvmlClocksEventReasonHwThermalSlowdown": "heat (hardware)",
    "nvmlClocksEventReasonHwPowerBrakeSlowdown": "power brake",
    "nvmlClocksEventReasonDisplayClockSetting": "display clocks",
    "nvmlClocksThrottleReasonBoardLimit": "board limit",
    "nvmlClocksThrottleReasonReliability": "voltage reliability",
}
"""NVML's reasons for a clock below the highest, in words."""
AS_SET = ("idle", "applications clocks")
"""Reasons that are no trouble: nothing to do, or a clock that someone chose."""


class Process(Value, frozen=True, kw_only=True):
    """One that holds a context on a GPU. ``name`` is the kernel's short one, never the command line, which may hold a
    secret; None where this process may not see it (another container)."""

    pid: int
    name: str | None = None


class State(Value, frozen=True, kw_only=True):
    """How a whole GPU is set, what its sensors say, and who else uses it. None: it does not tell."""

    persistence: bool | None = None
    mig: bool | None = None
    ecc: bool | None = None
    ecc_errors: int | None = None
    """Uncorrected ones since the driver was loaded."""
    limit_watts: float | None = None
    default_limit_watts: float | None = None
    most_sm_mhz: int | None = None
    limit_celsius: int | None = None
    reading: GpuReading = GpuReading()
    processes: tuple[Process, ...] = ()


class Look(Value, frozen=True, kw_only=True):
    """All GPUs of the machine at one moment; ``states`` by the UUID of the whole GPU."""

    nvidia: Nvidia
    states: dict[str, State] = {}


class Watch:
    """The sensors of the GPU, or MIG instance, with this UUID, for the process that uses it."""

    def __init__(self, uuid: str) -> None:
        import pynvml

        pynvml.nvmlInit()
        self.handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        self.is_part = uuid.startswith("MIG-")
        self.whole = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self.handle) if self.is_part else self.handle

    def reading(self) -> GpuReading:
        """Now, with this process's device memory."""
        return reading(self.whole, self.handle, os.getpid())

    def millijoules(self) -> int | None:
        """The counter of the energy that the GPU took; None where it has none, and for a part of a GPU, whose energy
        nobody counts."""
        import pynvml

        return None if self.is_part else told(pynvml.nvmlDeviceGetTotalEnergyConsumption, self.whole)


def watch(uuid: str) -> Watch | None:
    """None where NVML cannot be asked of it: what it would tell is missing then, and nothing else."""
    try:
        import pynvml
    except ImportError:  # an environment of other package versions
        return None
    try:
        return Watch(uuid)
    except pynvml.NVMLError:
        return None


def told(function: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers; None where this card, driver or user is not told."""
    import pynvml

    try:
        return function(*arguments)
    except pynvml.NVMLError:
        return None


def reading(whole: Any, handle: Any, pid: int) -> GpuReading:
    """The sensors of the whole GPU, and the memory on ``handle`` (it, or a MIG instance of it) of the process."""
    import pynvml

    watts = told(pynvml.nvmlDeviceGetPowerUsage, whole)
    used = told(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    return GpuReading(
        sm_mhz=told(pynvml.nvmlDeviceGetClockInfo, whole, pynvml.NVML_CLOCK_SM),
        memory_mhz=told(pynvml.nvmlDeviceGetClockInfo, whole, pynvml.NVML_CLOCK_MEM),
        celsius=told(pynvml.nvmlDeviceGetTemperature, whole, pynvml.NVML_TEMPERATURE_GPU),
        watts=None if watts is None else watts / 1e3,
        held_back=held_back(_reasons(whole)),
        process_bytes=next((one.usedGpuMemory for one in used if one.pid == pid), None),
    )


def _reasons(whole: Any) -> int:
    import pynvml

    mask = told(pynvml.nvmlDeviceGetCurrentClocksEventReasons, whole)
    if mask is None:  # the name before driver 535
        mask = told(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, whole)
    return mask or 0


def held_back(mask: int) -> tuple[str, ...]:
    """NVML's mask of reasons in words; bits that are not known are told by their number."""
    import pynvml

    known = {getattr(pynvml, name): words for name, words in HELD_BACK.items()}
    bits = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
    return tuple(known.get(bit, f"reason {bit:#x}") for bit in bits)


def look(own_pid: int) -> Look:
    """Every GPU with its state; processes but ``own_pid``. NVML's own words where it cannot be asked."""
    try:
        import pynvml
    except ImportError:
        return Look(nvidia=Nvidia(trouble="nvidia-ml-py is not installed: pip install nvidia-ml-py"))
    gpus: list[Gpu] = []
    states: dict[str, State] = {}
    lost: list[str] = []
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetCudaDriverVersion()
        driver, cuda = pynvml.nvmlSystemGetDriverVersion(), f"{version // 1000}.{version % 1000 // 10}"
        for number in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(number)
                found = _gpu(number, handle)
                state = _state(handle, own_pid)
                gpus += _parts(found, handle) if state.mig else [found]
                states[found.uuid] = state
            except pynvml.NVMLError as error:  # it fell off the bus, or needs a reset; the others may be well
                lost.append(f"GPU {number}: {error}")
    except pynvml.NVMLError as error:
        return Look(nvidia=Nvidia(trouble=str(error)))
    trouble = "; ".join(lost) or (None if gpus else "the driver knows no GPU, or none that is not divided (MIG)")
    return Look(nvidia=Nvidia(driver=driver, cuda=cuda, gpus=tuple(gpus), trouble=trouble), states=states)


def _gpu(number: int, handle: Any) -> Gpu:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        number=number,
        uuid=told(pynvml.nvmlDeviceGetUUID, handle) or "",
        name=pynvml.nvmlDeviceGetName(handle),
        compute_capability=f"{major}.{minor}",
    )


def _parts(whole: Gpu, handle: Any) -> Iterator[Gpu]:
    """The MIG instances of a GPU that is divided: CUDA uses them alone then."""
    import pynvml

    for place in range(told(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place)
        if part is not None:
            yield Gpu(
                number=whole.number,
                uuid=pynvml.nvmlDeviceGetUUID(part),
                name=told(pynvml.nvmlDeviceGetName, part) or f"{whole.name} MIG instance {place}",
                compute_capability=whole.compute_capability,
                part_of=whole.uuid,
            )


def _state(handle: Any, own_pid: int) -> State:
    import pynvml

    mig, ecc = told(pynvml.nvmlDeviceGetMigMode, handle), told(pynvml.nvmlDeviceGetEccMode, handle)
    persistence = told(pynvml.nvmlDeviceGetPersistenceMode, handle)
    limit = told(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    default_limit = told(pynvml.nvmlDeviceGetPowerManagementDefaultLimit, handle)
    errors = (pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)
    contexts = (pynvml.nvmlDeviceGetComputeRunningProcesses, pynvml.nvmlDeviceGetGraphicsRunningProcesses)
    pids = dict.fromkeys(one.pid for kind in contexts for one in told(kind, handle) or [])
    return State(
        persistence=None if persistence is None else persistence == pynvml.NVML_FEATURE_ENABLED,
        mig=None if mig is None else mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
        ecc=None if ecc is None else ecc[0] == pynvml.NVML_FEATURE_ENABLED,
        ecc_errors=told(pynvml.nvmlDeviceGetTotalEccErrors, handle, *errors),
        limit_watts=None if limit is None else limit / 1e3,
        default_limit_watts=None if default_limit is None else default_limit / 1e3,
        most_sm_mhz=told(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        limit_celsius=told(
            pynvml.nvmlDeviceGetTemperatureThreshold, handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        ),
        reading=reading(handle, handle, own_pid),
        processes=tuple(Process(pid=pid, name=_name(pid)) for pid in pids if pid != own_pid),
    )


def _name(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip() or None
    except OSError:
        return None


def main() -> None:
    """The process: ``python -m optibench.nvml``; one Look as JSON on standard output, for the process that started it.
    What libraries print there goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(out, "wb") as file:
        file.write(msgspec.json.encode(look(os.getppid())))
    sys.stdout.flush()
    os._exit(0)  # a driver that is ill may hang in its destructors


if __name__ == "__main__":
    main()
