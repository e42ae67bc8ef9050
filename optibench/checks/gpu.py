"""NVIDIA GPUs: the driver beside what the libraries want of it, how the cards are set, and who else uses them.

Sources: NVIDIA's "Driver Persistence", "Multi-Instance GPU User Guide" and nvidia-smi's manual page; "CUDA
Compatibility" (a driver runs what was built for any CUDA of its own major version, or an older one).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from optibench import host, nvml
from optibench.checks.base import absent
from optibench.checks.libraries import CUDA_OF_TORCH
from optibench.values import Finding

DRIVER = "NVIDIA driver"
CUDA_OF_ONNXRUNTIME = re.compile(r"^cuda_version\s*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)
CUDA_OF_NAME = re.compile(r"(tensorrt|tensorrt_rtx|onnxruntime_ep_\w+?)_cu(\d+)(?:_\w+)?-[^-]+\.dist-info")
NEAR_CELSIUS = 3
"""So near to where a card slows itself down, it is about to."""

States = dict[str, nvml.State]
"""By what a GPU is called where there are several, "" where there is one."""


def driver(seen: nvml.Look | None, wheels: Mapping[str, str]) -> Finding:
    """The driver and the newest CUDA that it runs, beside the CUDA that libraries were built for (``wheels``)."""
    if seen is None:
        return Finding(name=DRIVER, found="none here", fine=True)
    nvidia = seen.nvidia
    found = f"{nvidia.driver}, CUDA {nvidia.cuda}" if nvidia.driver else "cannot be asked"
    if nvidia.trouble:
        return Finding(
            name=DRIVER,
            found=f"{found}: {nvidia.trouble}",
            fine=False,
            costs="What it does not offer cannot be measured: such cases are skipped, or fail.",
            mend="nvidia-smi should say the same. After an update of the driver restart the machine, or the container.",
        )
    newer = {name: cuda for name, cuda in wheels.items() if _major(cuda) > _major(nvidia.cuda)}
    return Finding(
        name=DRIVER,
        found=found + "".join(f"; {name} is built for CUDA {cuda}" for name, cuda in newer.items()),
        fine=not newer,
        costs="What is built for a newer CUDA does not find the GPU." if newer else "",
        mend=f"Install a driver for CUDA {max(map(_major, newer.values()))}, or builds for CUDA {_major(nvidia.cuda)}."
        if newer
        else "",
    )


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def persistence(states: States) -> Finding:
    """Whether the driver stays loaded while nobody uses the GPU."""
    off = _those(states, lambda state: "off" if state.persistence is False else "")
    return Finding(
        name="GPU persistence mode",
        found=off or "on",
        fine=not off,
        costs="The driver is unloaded whenever nothing uses the GPU: processes start late, and clocks are reset."
        if off
        else "",
        mend="As root: nvidia-smi -pm 1" if off else "",
    )


def mig(states: States) -> Finding:
    """Whether the GPU is divided into instances."""
    on = _those(states, lambda state: "on" if state.mig else "")
    return Finding(
        name="GPU MIG mode",
        found=on or "off",
        fine=True,
        costs="An instance has a share of the card: figures hold for it alone, and no energy is counted." if on else "",
    )


def ecc(states: States) -> Finding:
    """Whether memory is protected against flipped bits, and whether it had any that it could not mend."""
    errors = _those(states, lambda state: f"{state.ecc_errors} uncorrected errors" if state.ecc_errors else "")
    on = _those(states, lambda state: "" if state.ecc is None else "on" if state.ecc else "off")
    return Finding(
        name="GPU ECC",
        found=errors or on,
        fine=not errors,
        costs="What is read from that memory may be wrong." if errors else "",
        mend="Reset the GPU (nvidia-smi -r) or restart the machine; if they come back, the card wants replacing."
        if errors
        else "",
    )


def power_limit(states: States) -> Finding:
    """Whether somebody allows the GPU less power than its maker."""

    def below(state: nvml.State) -> str:
        limit, usual = state.limit_watts, state.default_limit_watts
        return f"{limit:.0f} of {usual:.0f} W" if limit and usual and limit < usual else ""

    low = _those(states, below)
    usual = _those(states, lambda state: f"{state.limit_watts:.0f} W" if state.limit_watts else "")
    return Finding(
        name="GPU power limit",
        found=low or usual,
        fine=not low,
        costs="Under load the clock falls until the limit is kept: figures are lower than this card's." if low else "",
        mend="As root: nvidia-smi -pl WATTS with the default limit (nvidia-smi -q -d POWER)." if low else "",
    )


def clocks(states: States) -> Finding:
    """What keeps the clock down at this moment."""
    held = _those(states, lambda state: ", ".join(r for r in state.reading.held_back if r not in nvml.AS_SET))
    most = _those(states, lambda state: f"up to {state.most_sm_mhz} MHz" if state.most_sm_mhz else "")
    return Finding(
        name="GPU clocks",
        found=f"held back by {held}" if held else most,
        fine=not held,
        costs="The clock is lower than it could be, and changes with what holds it back: latencies drift."
        if held
        else "",
        mend="nvidia-smi -q -d PERFORMANCE,POWER,TEMPERATURE says more. A fixed lower clock is steadier: as root, "
        "nvidia-smi -lgc MHZ"
        if held
        else "",
    )


def temperature(states: States) -> Finding:
    """Whether the GPU is about to slow itself down."""

    def hot(state: nvml.State) -> str:
        now, limit = state.reading.celsius, state.limit_celsius
        return f"{now} °C, slower from {limit} °C" if now and limit and now >= limit - NEAR_CELSIUS else ""

    near = _those(states, hot)
    limits = _those(states, lambda state: f"below its limit of {state.limit_celsius} °C" if state.limit_celsius else "")
    return Finding(
        name="GPU temperature",
        found=near or limits,
        fine=not near,
        costs="The card slows itself down from there on." if near else "",
        mend="Better cooling, or a pause before measuring." if near else "",
    )


def others(states: States) -> Finding:
    """Processes that hold a context on the GPU: by their number and short name."""

    def named(state: nvml.State) -> str:
        return ", ".join(f"{one.pid} ({one.name or 'its name is not to be seen here'})" for one in state.processes)

    found = _those(states, named)
    return Finding(
        name="other processes on the GPU",
        found=found or "none",
        fine=not found,
        costs="They take its time, memory and power when they like: latencies vary, and energy is theirs too."
        if found
        else "",
        mend="End them, or choose another GPU: --device." if found else "",
    )


def _those(states: States, word: Callable[[nvml.State], str]) -> str:
    """What is said of each GPU, without those of which nothing is."""
    said = {name: text for name, state in states.items() if (text := word(state))}
    return "; ".join(f"{name}: {text}" if name else text for name, text in said.items())


# From the machine


def cuda_of_wheels() -> dict[str, str]:
    """The CUDA that installed libraries were built for, by library: as their files and names say, nothing imported."""
    found: dict[str, str] = {}
    for folder in [Path(entry) for entry in sys.path if entry.endswith("-packages")]:
        for name, file, pattern in (
            ("torch", "torch/version.py", CUDA_OF_TORCH),
            ("onnxruntime", "onnxruntime/capi/build_and_package_info.py", CUDA_OF_ONNXRUNTIME),
        ):
            if match := pattern.search(host.read_text(folder / file)):
                found.setdefault(name, match[1])
        for path in sorted(folder.glob("*_cu[0-9]*.dist-info")):
            if match := CUDA_OF_NAME.fullmatch(path.name):
                found.setdefault(match[1].replace("_", "-"), match[2])
    return found


def look(seen: nvml.Look | None, used: Collection[str] = ()) -> Iterator[Finding]:
    """What was ``seen`` of the GPUs, or of those that are ``used`` (UUIDs). One finding where there is no driver."""
    yield driver(seen, cuda_of_wheels() if seen else {})
    if seen is None or not seen.states:
        return
    parts = {gpu.uuid: gpu.part_of or gpu.uuid for gpu in seen.nvidia.gpus}
    kept = {parts.get(uuid, uuid) for uuid in used} or set(seen.states)
    numbers = {gpu.part_of or gpu.uuid: f"GPU {gpu.number}" for gpu in seen.nvidia.gpus}
    chosen = {uuid: state for uuid, state in seen.states.items() if uuid in kept}
    named = {numbers.get(uuid, uuid) if len(chosen) > 1 else "": state for uuid, state in chosen.items()}
    for check in (persistence, mig, ecc, power_limit, clocks, temperature, others):
        finding = check(named)
        yield finding if finding.found else absent(finding.name)
