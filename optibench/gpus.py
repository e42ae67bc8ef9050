"""The NVIDIA GPUs of this machine, and which of them a run uses. NVML is asked in a process of its own (nvml.py), and
so is CUDA, after a worker died or hung (cuda_context.py)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import msgspec

from optibench import cuda_context, nvml
from optibench.errors import OptibenchError, first_line
from optibench.gpu_values import Gpu, GpuRound, Nvidia

if TYPE_CHECKING:
    from optibench.values import Host

T = TypeVar("T")
VISIBLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
LOOK_SECONDS = float(os.environ.get("OPTIBENCH_GPU_LOOK_SECONDS", "30"))
"""Without persistence mode the driver is loaded first, which takes seconds on machines with many GPUs."""


def has_driver() -> bool:
    """Whether NVML is here to be asked; nothing is initialised."""
    try:
        ctypes.CDLL(nvml.LIBRARY)
    except OSError:
        return False
    return True


def look(seconds: float = LOOK_SECONDS) -> nvml.Look | None:
    """All GPUs of this machine, asked now; None: there is no driver. Whatever is wrong with the driver is the answer's
    ``trouble``, also that it does not answer within the time."""
    if not has_driver():
        return None
    try:
        return _answer("optibench.nvml", nvml.Look, seconds, {})
    except OptibenchError as error:
        return nvml.Look(nvidia=Nvidia(trouble=str(error)))


def _answer(module: str, kind: type[T], seconds: float, env: Mapping[str, str]) -> T:
    """What ``python -m module`` writes. Error: why it gives no answer, also that it gives none within the time."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
        start_new_session=True,
    )
    try:
        out, said = process.communicate(timeout=seconds)
        return msgspec.json.decode(out, type=kind)
    except subprocess.TimeoutExpired:
        raise OptibenchError(f"it did not answer within {seconds:.0f} s") from None
    except msgspec.MsgspecError:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit code {process.returncode}"
        last = first_line(said.decode(errors="replace")) or "no word"
        raise OptibenchError(f"asking it ended with {how} ({last})") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # In the kernel's hands even a kill waits: then it is left behind.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)


def gone(uuid: str, seen: nvml.Look | None) -> str | None:
    """Why the GPU, or MIG instance, is of no use any more, by what was ``seen`` now; None if it answers."""
    if seen is None:
        return "NVIDIA's driver is gone"
    if any(gpu.uuid == uuid for gpu in seen.nvidia.gpus):
        return None
    return f"the GPU {uuid} no longer answers ({seen.nvidia.trouble or 'the driver does not know it any more'})"


def without_context(uuid: str, seconds: float = LOOK_SECONDS) -> str | None:
    """Why CUDA cannot be used on the GPU, or MIG instance, though NVML answers for it; None if it can. Asked after a
    worker died or hung there: the answer takes a context."""
    try:
        env = {VISIBLE: uuid}
        trouble = _answer("optibench.cuda_context", cuda_context.Answer, seconds, env).trouble
    except OptibenchError as error:
        trouble = str(error)
    if trouble is None:
        return None
    return (
        f"CUDA cannot make a context on the GPU {uuid} though NVML answers: {trouble}. End what hangs on it "
        f"(nvidia-smi lists it), reset it (as root: nvidia-smi --gpu-reset -i {uuid}), or start the machine anew"
    )


def around(uuid: str, before: nvml.Look | None, after: nvml.Look | None) -> GpuRound | None:
    """What was seen of one GPU before and after a round; None if it was not seen before."""
    gpu = next((gpu for gpu in before.nvidia.gpus if gpu.uuid == uuid), None) if before else None
    if gpu is None or before is None:
        return None
    whole = gpu.part_of or gpu.uuid
    first, last = before.states.get(whole), after.states.get(whole) if after else None
    return GpuRound(
        gpu=gpu,
        before=first.reading if first else None,
        after=last.reading if last else None,
        limit_celsius=first.limit_celsius if first else None,
    )


# Which one


def usable(seen: nvml.Look, env: Mapping[str, str]) -> Nvidia:
    """The driver with those GPUs that CUDA_VISIBLE_DEVICES leaves, in its order; ``trouble`` where that is none."""
    found = seen.nvidia
    asked = env.get(VISIBLE)
    if asked is None or not found.gpus:
        return found
    numbers = any(word.strip().isdigit() for word in asked.split(","))
    if numbers and len({gpu.name for gpu in found.gpus}) > 1 and env.get(ORDER) != "PCI_BUS_ID":
        return msgspec.structs.replace(
            found,
            gpus=(),
            trouble=f"{VISIBLE}={asked} counts the fastest GPU first and this machine has different ones, so which one "
            f"is meant is not known: give UUIDs (nvidia-smi -L), or set {ORDER}=PCI_BUS_ID",
        )
    kept = tuple(_visible(asked, found.gpus))
    trouble = None if kept else f"{VISIBLE}={asked} leaves none of {listed(found.gpus)}"
    return msgspec.structs.replace(found, gpus=kept, trouble=trouble)


def _visible(asked: str, found: Sequence[Gpu]) -> list[Gpu]:
    """As CUDA reads it: numbers, or beginnings of UUIDs, up to the first word that is neither. Of a GPU that is
    divided CUDA takes the first instance."""
    kept: list[Gpu] = []
    for word in map(str.strip, asked.split(",")):
        if word.isdigit():
            named = [gpu for gpu in found if gpu.number == int(word)]
        else:
            starts = word.startswith(("GPU-", "MIG-"))
            named = [gpu for gpu in found if starts and (gpu.uuid.startswith(word) or gpu.part_of.startswith(word))]
        if not named or len({gpu.number for gpu in named}) > 1:
            break
        kept.append(named[0])
    return kept


def chosen(asked: str, found: Sequence[Gpu]) -> Gpu:
    """The GPU that ``--device`` names: by nvidia-smi's number, a UUID or its beginning, or a part of its name (of
    several of one name the first). Error: none, or several that differ (as all MIG instances do), with all there are.
    """
    word = asked.strip()
    named = [gpu for gpu in found if word == str(gpu.number)]
    named = named or [gpu for gpu in found if word.startswith(("GPU-", "MIG-")) and gpu.uuid.startswith(word)]
    named = named or [gpu for gpu in found if word and word.lower() in gpu.name.lower()]
    if len({(gpu.name, gpu.part_of and gpu.uuid) for gpu in named}) == 1:
        return named[0]
    what = f"--device {asked} may be {listed(named)}." if named else f"There is no GPU {asked!r} to be used here."
    raise OptibenchError(
        f"{what} There are: {listed(found)}. Give a number as nvidia-smi shows it, a UUID, or a part of a name"
        + (f"; {VISIBLE} may hide others." if VISIBLE in os.environ else ".")
    )


def listed(found: Sequence[Gpu]) -> str:
    """``0 NVIDIA L4 (GPU-...), 1 NVIDIA L4 (GPU-...)``."""
    return ", ".join(f"{gpu.number} {gpu.name} ({gpu.uuid})" for gpu in found) or "none"


def only(host: Host, asked: str | None) -> Host:
    """The machine as if it had no other NVIDIA GPU than the one that ``--device`` names. Without a driver that knows
    any GPU it stays as it is, and says why by itself. Error: as ``chosen``."""
    if asked is None or host.nvidia is None or not host.nvidia.gpus:
        return host
    one = chosen(asked, host.nvidia.gpus)
    others = {gpu.name for gpu in host.nvidia.gpus}
    return msgspec.structs.replace(
        host,
        gpus=(one.name, *(name for name in host.gpus if name not in others)),
        nvidia=msgspec.structs.replace(host.nvidia, gpus=(one,)),
    )
