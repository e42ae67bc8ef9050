"""Hardware targets: TOML files, checked key by key, and whether this machine is one."""

from __future__ import annotations

import difflib
import platform
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from optibench import host as hosts
from optibench import plugins
from optibench.errors import OptibenchError, unknown_name
from optibench.gpu_values import Gpu, Published
from optibench.gpus import VISIBLE
from optibench.values import PRECISIONS, Host, Target

KEYS = (
    *("name", "description", "device", "backends", "precisions", "match", "env", "options", "peaks"),
    "open_limit_seconds",
)
MATCH_KEYS = ("system", "arch", "vendor", "gpu", "gpu_name", "compute_capability")
DRIVERS = {
    "nvidia": ("NVIDIA", "no NVIDIA driver here: install one, or run on a machine with an NVIDIA GPU"),
    "intel-gpu": ("Intel GPU", "no Intel GPU with a driver here (/sys/class/drm has none)"),
    "intel-npu": ("Intel NPU", "no Intel NPU with a driver here (/sys/class/accel has none)"),
    "qualcomm-npu": ("Qualcomm NPU", "no Qualcomm NPU with a driver here (/dev has no fastrpc-cdsp)"),
}


def load(directory: Path | None = None) -> dict[str, Target]:
    """Every target by name: ours, then ./targets, then ``directory``; a later one of a name takes its place.

    Raises OptibenchError for a folder that is not there, and for files that say anything that is not known.
    """
    folders = [builtin_folder()]
    if (here := Path("targets")).is_dir() and here.resolve() != folders[0].resolve():
        folders.append(here)
    if directory is not None:
        if not directory.is_dir():
            raise OptibenchError(f"There is no folder {directory}. --targets-dir takes a folder of .toml files.")
        folders.append(directory)
    return {
        target.name: target for folder in folders for target in map(target_from_file, sorted(folder.glob("*.toml")))
    }


def builtin_folder() -> Path:
    """The targets that come with optibench: in the wheel beside this file, in a checkout at its top."""
    inside = Path(__file__).parent / "_targets"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "targets"


def target_from_file(path: Path) -> Target:
    """One target. Errors name the file, the key, and what is known."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OptibenchError(f"{path} is not valid TOML: {error}.") from error
    except OSError as error:
        raise OptibenchError(f"{path} cannot be read: {error.strerror}.") from error
    _known(path, "key", table, KEYS)
    for key in ("match", "backends", "options", "env"):
        if not isinstance(table.get(key, {}), dict):
            raise OptibenchError(f"{path}: {key} must be a table, [{key}]. targets/cpu.toml shows what each key holds.")
    _known(path, "key of [match]", table.get("match", {}), MATCH_KEYS)
    for key, value in table.get("match", {}).items():
        if not all(isinstance(one, str) for one in _list(value)):
            raise OptibenchError(f"{path}: {key} of [match] must be a text or a list of texts, not {value!r}.")
    if "gpu" in table.get("match", {}):
        _known(path, "gpu of [match]", _list(table["match"]["gpu"]), tuple(DRIVERS))
    _known(path, "backend", table.get("backends", {}), plugins.names("backend"))
    _known(path, "backend of [options]", table.get("options", {}), plugins.names("backend"))
    asked = [p for names in table.get("backends", {}).values() if isinstance(names, list) for p in names]
    precisions = table.get("precisions", [])
    _known(path, "precision", [*asked, *(precisions if isinstance(precisions, list) else [])], PRECISIONS)
    for peaks in table["peaks"] if isinstance(table.get("peaks"), list) else []:
        rates = peaks.get("tera_operations_per_second") if isinstance(peaks, dict) else None
        _known(path, "precision of [[peaks]]", rates if isinstance(rates, dict) else {}, PRECISIONS)
    try:
        target = msgspec.convert(table, Target)
    except msgspec.ValidationError as error:
        raise OptibenchError(f"{path}: {error}. targets/cpu.toml shows what each key holds.") from error
    if target.name != path.stem:
        raise OptibenchError(f"{path} calls its target {target.name!r}; the name must be the file's, {path.stem!r}.")
    return target


def _known(path: Path, kind: str, found: Mapping[str, Any] | Sequence[Any], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise OptibenchError(f"{path}: unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def find(names: Sequence[str], known: Mapping[str, Target]) -> list[Target]:
    """The targets of these names, or an error with the nearest."""
    for name in names:
        if name not in known:
            raise unknown_name("target", name, known, "optibench targets lists them.")
    return [known[name] for name in names]


def mismatch(target: Target, host: Host) -> str | None:
    """Why this machine is not such a target, in words to act on; None if it is."""
    match = target.match
    system, arch, vendor = match.get("system"), match.get("arch"), match.get("vendor")
    if system and platform.system() not in _list(system):
        return f"this machine runs {platform.system()}, the target is for {' or '.join(_list(system))}"
    if arch and hosts.architecture() not in _list(arch):
        return f"this machine is {hosts.architecture()}, the target is for {' or '.join(_list(arch))}"
    if vendor and hosts.cpu_vendor() not in _list(vendor):
        maker = hosts.cpu_vendor() or "an unknown maker"
        return f"this processor is by {maker}, the target is for {' or '.join(_list(vendor))}"
    if kinds := _list(match.get("gpu", [])):
        cards = [card for card in host.gpus for kind in kinds if _is_of(card, kind)]
        if not cards:
            if "nvidia" in kinds and host.nvidia and host.nvidia.trouble:
                return f"NVIDIA's driver is here and offers no GPU: {host.nvidia.trouble}"
            return "; ".join(DRIVERS[kind][1] for kind in kinds)
        known = host.nvidia.gpus if host.nvidia and "nvidia" in kinds else ()
        fitting = gpus_of(target, known) if known else [card for card in cards if _fits(target, card, None)]
        if not fitting:
            there = [f"{gpu.name} (compute capability {gpu.compute_capability})" for gpu in known] or cards
            return f"this machine has {', '.join(there)}; the target is for {_wanted(target)}"
    return None


def gpus_of(target: Target, found: Sequence[Gpu]) -> list[Gpu]:
    """Those of the GPUs that are such a target; a run uses the first."""
    return [gpu for gpu in found if _fits(target, gpu.name, gpu.compute_capability)]


def _fits(target: Target, name: str, capability: str | None) -> bool:
    """Whether a card has one of the names and one of the compute capabilities (where that is known)."""
    names, capabilities = (_list(target.match.get(key, [])) for key in ("gpu_name", "compute_capability"))
    named = not names or any(_named(name, wanted) for wanted in names)
    return named and (not capabilities or capability in (None, *capabilities))


def _wanted(target: Target) -> str:
    names, capabilities = (_list(target.match.get(key, [])) for key in ("gpu_name", "compute_capability"))
    parts = [" or ".join(names), f"compute capability {' or '.join(capabilities)}" if capabilities else ""]
    return ", ".join(part for part in parts if part)


def published(gpu: Gpu, limit: str, known: Iterable[Target]) -> Published | None:
    """What a card's maker says that it reaches at best in a precision, or under "memory", by the first target's file
    that tells of it. None: none does, or it is a MIG instance, which is a part of a card."""
    peaks = next((one for target in known for one in target.peaks if _named(gpu.name, one.card, "$")), None)
    if peaks is None or gpu.part_of:
        return None
    rate, unit = peaks.tera_operations_per_second.get(limit), 1e12
    if limit == "memory":
        rate, unit = peaks.memory_gigabytes_per_second, 1e9
    return None if rate is None else Published(per_second=rate * unit, source=peaks.source)


def _is_of(card: str, kind: str) -> bool:
    # NVIDIA's driver names cards without its maker ("Tesla T4"); what is not another's is NVIDIA's.
    return card == DRIVERS[kind][0] or (kind == "nvidia" and not card.startswith(("Intel", "Qualcomm")))


def _named(card: str, name: str, end: str = r"(?!\w)") -> bool:
    """Whether a card's name holds these words, so that an L40S is no L4; ``*`` is the rest of a word (RTX 40*)."""
    words = re.escape(name).replace(r"\*", r"\w*")
    return re.search(rf"(?<!\w){words}{end}", card, re.IGNORECASE) is not None


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def environment(target: Target, threads: int, device: str = "") -> dict[str, str]:
    """The environment that the target's workers start with; ``{threads}`` is filled in. They see the GPU ``device``
    alone, if one is chosen."""
    env = {name: value.replace("{threads}", str(threads)) for name, value in target.env.items()}
    return {**env, VISIBLE: device} if device else env
