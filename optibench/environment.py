"""Other sets of package versions: virtual environments made from pins, or given, in which workers and builders run.

What the pins do not name has the versions of this environment, so that only what is asked about differs. optibench
itself is imported from where it is, alone: nothing else of this environment is seen there.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench import __version__
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.host import packages, version_of
from optibench.values import digest_of

if TYPE_CHECKING:
    from packaging.requirements import Requirement

Say = Callable[[str], None]
Pins = dict[str, str]
"""Package name (in its normal form) to a version specifier, such as ==1.30.0."""

ASK = """
import importlib.metadata, json, sys
import numpy, optibench.worker
found = {}
for name in json.loads(sys.argv[1]):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def interpreter(folder: Path) -> Path:
    """The Python of a virtual environment's folder."""
    return folder / "bin" / "python"


def variables(cache: Cache) -> dict[str, str]:
    """What a process in another environment must be told: where optibench is, and nothing else of this one."""
    return {"PYTHONPATH": str(_import_path(cache)), "PYTHONNOUSERSITE": "1"}


def packages_of(python: Path, cache: Cache) -> dict[str, str]:
    """The versions in another environment of what a record names. Error: optibench's workers cannot run there."""
    done = subprocess.run(
        [str(python), "-c", ASK, json.dumps(packages())],
        env={**os.environ, **variables(cache)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise OptibenchError(
            f"optibench's workers cannot run in the environment of {python}: {last}. "
            "It needs Python 3.11 or newer, msgspec and numpy, and the runtimes that are to be measured."
        )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def made(pins: Mapping[str, str], extras: Iterable[str], cache: Cache, say: Say) -> Path:
    """The Python of an environment that holds what optibench needs with these extras: ``pins`` where they say
    something, this environment's versions else. Made by venv and pip, kept in the cache by its content.

    Errors: pins of packages that none of the cases needs; whatever pip refuses, in its own words.
    """
    wanted = requirements(extras)
    here = installed_closure(wanted)
    idle = [name for name in pins if name not in here]
    if len(idle) == len(pins):
        raise OptibenchError(
            f"The cases use none of the packages that are pinned ({', '.join(pins) or 'none'}), so both sides would be "
            f"the same. Pin some of these: {', '.join(sorted(here))}."
        )
    if idle:
        say(f"pinned, but not used by any case: {', '.join(idle)}")
    lines = [f"{name}{pins.get(name, version)}" for name, version in sorted(here.items())]
    return from_lines(sorted(str(r) for r in wanted), lines, cache, say)


PINS_HINT = "Pin versions that exist for this Python and go together (add pins for what they need)."


def from_lines(wanted: list[str], constraints: list[str], cache: Cache, say: Say, hint: str = PINS_HINT) -> Path:
    """The Python of an environment with these requirements under these constraints, from the cache if it is there.
    Error: pip's own, followed by ``hint``."""

    def make(folder: Path) -> dict[str, Any]:
        say("preparing an environment with these versions (pip may fetch some hundred MB)")
        _run([sys.executable, "-m", "venv", str(folder / "venv")], say, hint)
        file = folder / "constraints.txt"
        file.write_text("\n".join(constraints) + "\n")
        flags = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "-c", str(file)]
        _run([str(interpreter(folder / "venv")), "-m", "pip", "install", *flags, *wanted], say, hint)
        return {}

    entry = cache.get_or_make("environment", _recipe(wanted, constraints), make)
    return interpreter(cache.path(entry.key) / "venv")


def key(wanted: list[str], constraints: list[str]) -> str:
    """Under which ``from_lines`` keeps an environment in the cache."""
    return digest_of(_recipe(wanted, constraints))


def _recipe(wanted: list[str], constraints: list[str]) -> dict[str, Any]:
    return {
        "kind": "environment",
        "form": "Python environment",
        "version": 1,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}",
        "base": str(Path(sys.executable).resolve()),
        "requirements": wanted,
        "constraints": constraints,
    }


def _run(command: list[str], say: Say, hint: str) -> None:
    """Runs a step and tells what it does, a line at a time. Error: pip's own, or the last line, in a sentence."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        said: list[str] = []
        try:
            for line in process.stdout or ():
                said.append(line.strip())
                say(f"preparing the environment: {line.strip()}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise OptibenchError(f"The environment could not be made: {reason(said).rstrip('.')}. {hint}")


def reason(said: Sequence[str]) -> str:
    """Why pip gave up, from its lines: which requirements contradict each other, else its last error."""
    if "The conflict is caused by:" in said:
        conflict = said[said.index("The conflict is caused by:") + 1 :]
        end = conflict.index("") if "" in conflict else len(conflict)
        return "; ".join(conflict[:end])
    errors = [line.partition("ERROR:")[2].strip() for line in said if line.startswith("ERROR:")]
    return next((line for line in (*reversed(errors), *reversed(said)) if line), "it gave no reason")


# Pins and requirements


def pins_from_text(text: str, where: str) -> Pins:
    """The pins of a constraints file's text, or of one line divided by commas. Errors name the line."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    pins: Pins = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split(" #")[0].strip()
        if not content or content.startswith("#"):
            continue
        try:
            found = Requirement(content)
        except InvalidRequirement as error:
            raise OptibenchError(
                f"Line {number} of {where} is not a pin such as onnxruntime==1.30.0: {content!r}."
            ) from error
        if found.url or not found.specifier:
            raise OptibenchError(f"Line {number} of {where} names no version: {content!r}. Give one, such as ==1.30.0.")
        if found.marker is None or found.marker.evaluate():
            pins[canonicalize_name(found.name)] = str(found.specifier)
    return pins


def is_pin(text: str) -> bool:
    """Whether a text is one pin, such as onnxruntime==1.30.0: a version, and not a revision or a model."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return False
    return bool(found.specifier)


def requirements(extras: Iterable[str]) -> list[Requirement]:
    """What optibench itself requires, with these extras. Where another distribution that is installed here holds the
    module that one of them would bring (onnxruntime-gpu in place of onnxruntime), it is that one: the other side is to
    differ in its versions, not in the device that it runs on."""
    found = [_as_installed(requirement) for requirement in _requires("optibench", set(extras))]
    return list({str(requirement): requirement for requirement in found}.values())


def _as_installed(requirement: Requirement) -> Requirement:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    if version_of(requirement.name) is not None:
        return requirement
    holders = importlib.metadata.packages_distributions().get(requirement.name.replace("-", "_"), [])
    if not holders:
        return requirement
    # As optibench asks for it in an extra of its own, which knows what it needs besides (CUDA's libraries).
    every = importlib.metadata.distribution("optibench").metadata.get_all("Provides-Extra") or []
    asked = [
        one
        for one in _requires("optibench", set(every))
        if canonicalize_name(one.name) == canonicalize_name(holders[0])
    ]
    return asked[0] if asked else Requirement(f"{holders[0]}{requirement.specifier}")


def _requires(name: str, extras: set[str]) -> list[Requirement]:
    from packaging.requirements import Requirement

    found = []
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            requirement.marker = None
            found.append(requirement)
    return found


def installed_closure(wanted: Iterable[Requirement]) -> Pins:
    """All that these requirements bring along here, with the versions that are installed (local parts cut off: a
    CPU build of torch satisfies its public version)."""
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    pins: Pins = {}
    waiting, seen = [(canonicalize_name(r.name), frozenset(r.extras)) for r in wanted], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        pins[name] = f"=={Version(version).public}"
        waiting += [(canonicalize_name(r.name), frozenset(r.extras)) for r in _requires(name, set(extras))]
    return pins


def _import_path(cache: Cache) -> Path:
    """A folder with nothing but this optibench: a link to its package, and its metadata, by which it finds backends
    and tasks."""
    package = Path(__file__).resolve().parent
    own = importlib.metadata.distribution("optibench")
    texts = {name: own.read_text(name) or "" for name in ("METADATA", "entry_points.txt")}
    recipe = {"kind": "import path", "form": "link to optibench", "package": str(package), **texts}

    def make(folder: Path) -> None:
        (folder / "optibench").symlink_to(package, target_is_directory=True)
        metadata = folder / f"optibench-{__version__}.dist-info"
        metadata.mkdir()
        for name, text in texts.items():
            (metadata / name).write_text(text)

    return cache.path(cache.get_or_make("import path", recipe, make).key)
