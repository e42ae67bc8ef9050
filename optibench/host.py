"""The machine, as far as it bears on a measurement: read from /proc and /sys, nothing imported that is not tiny.

What reads files is apart from what understands them, so that tests can give the text of other machines.
"""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from optibench import gpus, plugins
from optibench.errors import OptibenchError
from optibench.values import Host

ISA = (
    *("sse4_2", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Instruction sets that decide how fast a model runs, as /proc/cpuinfo names them."""
INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")
BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
BESIDE_RUNTIMES = (
    *("optibench", "transformers", "huggingface_hub", "tokenizers", "numpy", "datasets"),
    *("onnx", "onnxscript", "nncf", "torchao", "cuda-bindings", "nvidia-ml-py"),
)
"""Distributions that decide what is built or measured, and are no backend's runtime."""
ARM_MAKERS = {"0x41": "ARM", "0xc0": "Ampere", "0x61": "Apple", "0x4e": "NVIDIA"}
CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def describe() -> Host:
    """This machine."""
    model, isa = cpu_from_text(read_text("/proc/cpuinfo"))
    memory = memory_from_text(read_text("/proc/meminfo"))
    seen = gpus.look()
    nvidia = gpus.usable(seen, os.environ) if seen else None
    cards = [gpu.name for gpu in nvidia.gpus] if nvidia else nvidia_cards()
    return Host(
        cpu_model=model or platform.processor() or platform.machine(),
        isa=isa,
        cores=os.cpu_count() or 1,
        affinity=affinity(),
        cgroup_limits=cgroup_limits(),
        governor=read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        memory_bytes=memory.get("MemTotal", 0),
        gpus=(*cards, *other_devices()),
        nvidia=nvidia,
        os=_system(),
        python=platform.python_version(),
        packages=package_versions(packages()),
    )


@functools.cache
def packages() -> tuple[str, ...]:
    """The distributions whose versions a record holds: every backend's runtime, and what is used beside them."""
    runtimes: list[str] = []
    for name in plugins.names("backend"):
        try:
            runtimes += getattr(plugins.load("backend", name), "RUNTIME", ())
        except OptibenchError:
            continue  # a stranger's that is broken is told where it is asked for
    return tuple(dict.fromkeys((*BESIDE_RUNTIMES, *runtimes)))


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those distributions that are installed."""
    return {name: version for name in names if (version := version_of(name)) is not None}


def version_of(name: str) -> str | None:
    """A distribution's version, if it is installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def usable_cores() -> int:
    """Cores that this process may use: its affinity, cut by the cgroup's quota; at least 1."""
    quota = cgroup_limits().get("cpus")
    cores = len(affinity())
    return max(1, min(cores, math.floor(quota)) if quota else cores)


def free_bytes() -> int:
    """Memory that may be taken now without swapping, within the cgroup's limit."""
    available = memory_from_text(read_text("/proc/meminfo")).get("MemAvailable", 4 << 30)
    limit = cgroup_limits().get("memory_bytes")
    return min(available, int(limit)) if limit else available


def last_level_cache_bytes(folder: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int | None:
    """What the largest cache of the first core holds (it may share it with others); None where that is not told."""
    sizes = [read_text(index / "size").strip() for index in folder.glob("index*")]
    return max((int(size[:-1]) * 1024 for size in sizes if size[:-1].isdigit() and size.endswith("K")), default=None)


def cpu_vendor() -> str:
    """GenuineIntel, AuthenticAMD, ARM, ...; "" if it is not known."""
    return vendor_from_text(read_text("/proc/cpuinfo"))


def architecture() -> str:
    """x86_64, aarch64, ..."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


# From text


def cpu_from_text(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """The processor's name and those of its instruction sets that matter."""
    fields = fields_from_text(cpuinfo)
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    name = fields.get("model name") or ""
    if not name and "CPU implementer" in fields:
        maker = ARM_MAKERS.get(fields["CPU implementer"], fields["CPU implementer"])
        name = f"{maker} part {fields.get('CPU part', 'unknown')}"
    return name, tuple(flag for flag in ISA if flag in flags)


def vendor_from_text(cpuinfo: str) -> str:
    """The processor's maker."""
    fields = fields_from_text(cpuinfo)
    return fields.get("vendor_id") or ARM_MAKERS.get(fields.get("CPU implementer", ""), "")


def fields_from_text(cpuinfo: str) -> dict[str, str]:
    """The first processor's lines; all are alike in what is read here."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def memory_from_text(meminfo: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in meminfo.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def cgroup_limits(root: Path = CGROUPS, own: str | None = None) -> dict[str, Any]:
    """The tightest limits from this process's cgroup upwards: ``cpus`` (a quota in cores) and ``memory_bytes``.

    ``own`` is the text of /proc/self/cgroup. Version 2 (one hierarchy) and version 1 (one a controller) are known.
    """
    found: dict[str, Any] = {}
    for place in cgroup_folders(root, own):
        _tighten(found, "cpus", _quota(place))
        _tighten(found, "memory_bytes", _memory_limit(place))
    return found


def cgroup_folders(root: Path = CGROUPS, own: str | None = None) -> Iterator[Path]:
    """The folders of this process's cgroups and all above them, those that may be."""
    text = read_text("/proc/self/cgroup") if own is None else own
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        bases = [root] if not controllers else [root / name for name in controllers.split(",")] + [root / controllers]
        for base in bases:
            folder = base / path.strip("/")
            for place in (folder, *folder.parents):
                if base not in (place, *place.parents):
                    break
                yield place


def cgroup_texts(name: str, root: Path = CGROUPS, own: str | None = None) -> list[str]:
    """A file of that name in each of these folders, where there is one."""
    return [text for place in cgroup_folders(root, own) if (text := read_text(place / name))]


def _tighten(found: dict[str, Any], name: str, value: float | None) -> None:
    if value is not None:
        found[name] = min(value, found.get(name, value))


def _quota(folder: Path) -> float | None:
    words = read_text(folder / "cpu.max").split()
    if not words:
        words = [read_text(folder / "cpu.cfs_quota_us").strip(), read_text(folder / "cpu.cfs_period_us").strip()]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def _memory_limit(folder: Path) -> int | None:
    text = (read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes")).strip()
    # Version 1 says "none" by a number near 2**63.
    return int(text) if text.isdigit() and int(text) < 1 << 60 else None


# From the machine


def nvidia_cards() -> list[str]:
    """NVIDIA's cards by the traces that the driver leaves in /proc: for where its library cannot be asked."""
    found = [
        fields_from_text(read_text(path)).get("Model", "NVIDIA GPU")
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    ]
    return found or (["NVIDIA GPU"] if gpus.has_driver() else [])


def other_devices() -> list[str]:
    """Intel's GPUs and NPUs, and Qualcomm's NPUs, by the traces that their drivers leave: nothing is initialised."""
    found = []
    for path in sorted(Path("/sys/class/drm").glob("renderD*/device/vendor")):
        if read_text(path).strip() == "0x8086":
            found.append("Intel GPU")
    for path in sorted(Path("/sys/class/accel").glob("accel*/device/vendor")):
        if read_text(path).strip() == "0x8086":
            found.append("Intel NPU")
    if any(Path("/dev").glob("fastrpc-cdsp*")):
        found.append("Qualcomm NPU")
    return found


def affinity() -> tuple[int, ...]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    return ", ".join(part for part in (name, f"{platform.system()} {platform.release()}") if part)


def read_text(path: str | Path) -> str:
    """The file's text; "" where there is no such file, as on other systems."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
