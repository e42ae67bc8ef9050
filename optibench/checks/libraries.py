"""Installed libraries that do not go together: found by what their metadata say, nothing of them is imported.

They cannot change while a process lives, so they are looked at once. Sources: the core metadata and RECORD
specifications of packaging.python.org; threadpoolctl's "multiple_openmp.md" (which OpenMP runtimes clash).
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from optibench import host
from optibench.checks.base import absent
from optibench.values import Finding

RUNTIMES = ("torch", "onnxruntime", "openvino", "numpy", "tensorrt")
"""Modules that a worker times."""
OPENMP = re.compile(r"/lib(gomp|iomp5|omp)[-.][^,/\n]*so[^,/\n]*,")
OPENMP_NAMES = {"gomp": "GNU", "iomp5": "Intel", "omp": "LLVM"}
CLASHING = {"Intel", "LLVM"}
CUDA_OF_TORCH = re.compile(r"^cuda\b[^=\n]*= *['\"]([\d.]+)['\"]", re.MULTILINE)


def versions(required: Mapping[str, Iterable[str]], version_of: Callable[[str], str | None]) -> Finding:
    """Whether each distribution's requirements (name to its Requires-Dist lines) are met by what is installed.

    Requirements of an extra count where what they name is installed: an optional library must still fit.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion

    if not required:
        return absent("library versions")
    wrong = []
    for name, lines in required.items():
        for line in lines:
            try:
                wanted = Requirement(line)
                extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", line)
                if wanted.marker and not wanted.marker.evaluate({"extra": extra[1] if extra else ""}):
                    continue
                found = version_of(wanted.name)
                if found is None and not extra:
                    wrong.append(f"{name} needs {wanted.name}{wanted.specifier}, which is not installed")
                elif found is not None and not wanted.specifier.contains(found, prereleases=True):
                    wrong.append(f"{name} needs {wanted.name}{wanted.specifier}, {found} is installed")
            except (InvalidRequirement, InvalidVersion):
                continue
    fine = not wrong
    return Finding(
        name="library versions",
        found="as required" if fine else "; ".join(dict.fromkeys(wrong)),
        fine=fine,
        costs="" if fine else "It may fail, or run another code path than the one that is tested.",
        mend="" if fine else "Install what is tested: pip install -c constraints.txt 'optibench[all]'",
    )


def owners(records: Mapping[str, str]) -> Finding:
    """Runtimes that two distributions both claim, such as onnxruntime and onnxruntime-gpu, by their RECORDs."""
    if not records:
        return absent("one library, one package")
    twice = []
    for module in RUNTIMES:
        line = f"\n{module}/__init__.py,"
        if len(claimed := sorted(name for name, text in records.items() if line in f"\n{text}")) > 1:
            twice.append(f"{module} is of {' and '.join(claimed)}")
    return Finding(
        name="one library, one package",
        found="; ".join(twice) or "yes",
        fine=not twice,
        costs="The one installed last has overwritten files of the other: which of them runs is chance."
        if twice
        else "",
        mend="Uninstall both, and install the one that you want." if twice else "",
    )


def openmp(records: Mapping[str, str]) -> Finding:
    """The OpenMP runtimes that come with installed packages. Copies of one make are apart; two makes may clash."""
    if not records:
        return absent("OpenMP runtimes")
    found: dict[str, set[str]] = {}
    for name, text in records.items():
        for match in OPENMP.finditer(text):
            found.setdefault(OPENMP_NAMES[match[1]], set()).add(name)
    fine = not found.keys() >= CLASHING
    return Finding(
        name="OpenMP runtimes",
        found="; ".join(f"{make}'s with {', '.join(sorted(names))}" for make, names in sorted(found.items())) or "none",
        fine=fine,
        costs=""
        if fine
        else "Intel's and LLVM's runtimes in one process can hang or crash it, or start threads twice.",
        mend="" if fine else "Remove one of the packages, or keep them in environments of their own.",
    )


def torch_build(version_py: str, gpus: tuple[str, ...]) -> Finding:
    """The device that torch was built for (its version.py) beside those that have a driver here."""
    name = "torch build"
    built = CUDA_OF_TORCH.search(version_py)
    if not version_py:
        return absent(name)
    # NVIDIA's driver names cards without its maker; what is not Intel's is NVIDIA's.
    cards = [gpu for gpu in gpus if not gpu.startswith("Intel")]
    if built and not cards:
        return Finding(
            name=name,
            found=f"for CUDA {built[1]}, without an NVIDIA driver",
            fine=False,
            costs="It runs on the CPU alone; gigabytes of CUDA libraries are installed for nothing.",
            mend="Install the build for CPUs: pip install torch --index-url https://download.pytorch.org/whl/cpu",
        )
    if cards and not built:
        return Finding(
            name=name,
            found=f"not for CUDA, though there is {cards[0]}",
            fine=False,
            costs="PyTorch's cases cannot run on the GPU.",
            mend="Install a build for CUDA (pytorch.org, Get started).",
        )
    return Finding(name=name, found=f"for CUDA {built[1]}" if built else "for CPUs", fine=True)


# From the machine


def installed_records() -> dict[str, str]:
    """Each installed distribution's RECORD by its folder's name (name-version), the first on sys.path of a name."""
    found: dict[str, str] = {}
    for folder in dict.fromkeys(Path(entry) for entry in sys.path if entry.endswith("-packages")):
        for path in sorted(folder.glob("*.dist-info/RECORD")):
            found.setdefault(path.parent.name.partition("-")[0].replace("_", "-"), host.read_text(path))
    return found


def _requirements(name: str) -> list[str]:
    """Requires-Dist of a distribution; the extras of others than optibench are their own affair."""
    import importlib.metadata

    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [line for line in lines if name == "optibench" or "extra ==" not in line]


@functools.cache
def look_once() -> tuple[Finding, ...]:
    """This environment's."""
    records = installed_records()
    required = {name: _requirements(name) for name in host.packages()}
    version_py = next((path for entry in sys.path if (path := Path(entry, "torch/version.py")).is_file()), None)
    return (
        versions({name: lines for name, lines in required.items() if lines}, host.version_of),
        owners(records),
        torch_build(host.read_text(version_py) if version_py else "", tuple(host.nvidia_cards())),
        openmp(records),
    )


def look() -> Iterator[Finding]:
    """The same, as the other groups give theirs."""
    yield from look_once()
