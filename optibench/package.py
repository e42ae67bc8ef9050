"""One artifact as a folder of its own: graph, tokenizer, config, and a README whose lines load and run it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import msgspec

from optibench import __version__, encoder_decoder, generation_lines, plugins
from optibench.arrays import batches_of
from optibench.build import Workshop
from optibench.cache import Cache, sha256_of_file
from optibench.embedders import FILES as SENTENCE_TRANSFORMERS_FILES
from optibench.errors import OptibenchError
from optibench.generation_rules import rules_in
from optibench.plan import Plan
from optibench.processors import tokenizer_digest
from optibench.render.plain import markdown_plain
from optibench.strict_json import strict_json, value_from_json
from optibench.tasks.base import is_generative, kind_of
from optibench.values import Artifact, Case, Model, Value
from optibench.weights import graph_files

if TYPE_CHECKING:
    from optibench.arrays import Arrays
    from optibench.backends.base import Writing

MANIFEST = "optibench.json"
README = "README.md"
PACKAGE_SCHEMA = 1
HERE = "here = Path(__file__).parent if '__file__' in globals() else Path('.')"
TOKENIZER_FILES = (
    "tokenizer*.json",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "chat_template.jinja",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    *SENTENCE_TRANSFORMERS_FILES,
)


class Package(Value, frozen=True, kw_only=True):
    """What optibench.json says of an exported folder. Names, no paths: it may lie anywhere."""

    schema: int = PACKAGE_SCHEMA
    optibench_version: str
    case: Case
    model: Model
    artifact: Artifact
    files: dict[str, str]
    """The graph's files by name, with their sha256."""


def write(plan: Plan, out: Path, cache: Cache, say: Callable[[str], None]) -> Path:
    """Builds the plan's case and writes it to ``out``, whole or not at all; gives the graph's file.

    Errors: the folder is not empty or cannot be written; the case cannot be built, with the reason.
    """
    asked = plan.request
    check_can_be_written(plan.model, asked.backends[0])
    case = next(
        p for p in plan.cases if p.case.backend == asked.backends[0] and p.case.precision == asked.precisions[0]
    )
    if case.skip:
        raise OptibenchError(f"{case.case.name} cannot be built here: {case.skip}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptibenchError(f"{out} exists and is not an empty folder. Give a new one with --out.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise OptibenchError(f"{out} cannot be written: {error.strerror}. Give another folder with --out.") from error
    try:
        with Workshop(plan, cache, folder / "build.log", say) as workshop:
            say(f"building {case.case.name}")
            artifact = workshop.artifact(case.case)
            arrays = inputs_of(plan, workshop, cache)
        (folder / "build.log").unlink(missing_ok=True)
        file = fill(folder, plan.model, case.case, artifact, lambda: arrays)
        folder.chmod(0o755)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise OptibenchError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out / file.name


def check_can_be_written(model: Model, backend: str) -> None:
    """Error: it generates, and the backend has no lines that would run its build."""
    if generates(model) and not hasattr(plugins.load("backend", backend), "writing"):
        able = [name for name in plugins.names("backend") if hasattr(plugins.load("backend", name), "writing")]
        raise OptibenchError(
            f"{backend} makes no file that generates text, so there is nothing to export or publish. "
            f"These do: {', '.join(able)}."
        )


def generates(model: Model) -> bool:
    """Whether builds of the model make tokens one after the other."""
    return is_generative(plugins.load("task", model.ref.task), model.config)


def inputs_of(plan: Plan, workshop: Workshop, cache: Cache) -> Arrays:
    """A model's inputs by name, as they were prepared for measuring its first shape."""
    entry = workshop.inputs(plan.model)
    return next(batches_of(cache.path(entry.key) / f"shape-{plan.workload.shapes[0].size}.npz"))


def fill(
    folder: Path,
    model: Model,
    case: Case,
    artifact: Artifact,
    example: Callable[[], Arrays],
    get: Sequence[str] = (),
) -> Path:
    """Puts a finished artifact into an empty folder with all that is needed to use it; gives the graph's file.
    ``example`` gives inputs, and is asked for a graph that no tokenizer feeds; ``get`` are commands by which a reader
    of its README comes by the folder."""
    file = _copy_graph(artifact, folder)
    _copy_tokenizer(model, folder)
    _write_manifest(folder, model, case, artifact, file)
    text = readme(model, case, artifact, file.name, example, get)
    (folder / README).write_text(text, encoding="utf-8")
    return file


def opened(folder: Path) -> Package:
    """An exported build, its graph's files checked; paths are absolute. Errors: it is none, damaged, or newer."""
    where = folder / MANIFEST
    try:
        data = where.read_bytes()
    except OSError as error:
        raise OptibenchError(f"{folder} holds no exported build: {MANIFEST} cannot be read.") from error
    found = value_from_json(data, Package, PACKAGE_SCHEMA, str(where))
    for name, sha256 in {found.artifact.path: "", **found.files}.items():
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
        if not inside or not (folder / name).is_file() or sha256_of_file(folder / name) != sha256:
            raise OptibenchError(
                f"{folder} is not as it was exported: {name} is missing or another. Export the build again."
            )
    artifact = msgspec.structs.replace(found.artifact, path=str((folder / found.artifact.path).resolve()))
    model = msgspec.structs.replace(found.model, path=str(folder.resolve()))
    return msgspec.structs.replace(found, artifact=artifact, model=model)


def _write_manifest(folder: Path, model: Model, case: Case, artifact: Artifact, file: Path) -> None:
    """By which the folder can be measured again: what it was built as, from what, and its files' digests."""
    manifest = Package(
        optibench_version=__version__,
        case=case,
        model=msgspec.structs.replace(model, path=""),
        artifact=msgspec.structs.replace(artifact, path=file.name),
        files={
            path.relative_to(Path(artifact.path).parent).as_posix(): sha256_of_file(path)
            for path in _belonging(artifact)
        },
    )
    (folder / MANIFEST).write_bytes(msgspec.json.format(strict_json(manifest), indent=2) + b"\n")


def _copy_graph(artifact: Artifact, folder: Path) -> Path:
    path = Path(artifact.path)
    if path.is_dir():
        raise OptibenchError("This backend builds nothing: the model's own folder is what it runs. Export another one.")
    for file in _belonging(artifact):
        to = folder / file.relative_to(path.parent)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)
    return folder / path.name


def _belonging(artifact: Artifact) -> list[Path]:
    """The graph with what belongs to it: everything in its cache entry but the cache's own manifest; of the user's own
    graph the files that its weights lie in."""
    path = Path(artifact.path)
    if artifact.recipe:
        return sorted(file for file in path.parent.iterdir() if file.name != "entry.json")
    return graph_files(path)


def _copy_tokenizer(model: Model, folder: Path) -> None:
    home = Path(model.path)
    home = home if home.is_dir() else home.parent
    for pattern in TOKENIZER_FILES:
        for file in sorted(home.glob(pattern)):
            to = folder / file.relative_to(home)
            if not to.exists():  # what the graph came with is as its digest says
                to.parent.mkdir(exist_ok=True)
                shutil.copy(file, to)
    if (home / "config.json").is_file() and not (folder / "config.json").exists():
        shutil.copy(home / "config.json", folder / "config.json")


def readme(
    model: Model, case: Case, artifact: Artifact, file: str, example: Callable[[], Arrays], get: Sequence[str] = ()
) -> str:
    """A README of a few lines of code that run as they stand, in the folder's parent or anywhere; the rest as ``fill``
    has it."""
    backend = plugins.load("backend", case.backend)
    if generates(model):
        needs, code = _written(model, backend.writing(file, case.precision), example)
    else:
        needs, code = _answered(model, case, artifact, file, example)
    shown = markdown_plain(model.ref.id)
    packages = " ".join([*getattr(backend, "NEEDS", (case.backend,)), *needs])
    commands = "\n    ".join([*get, f"pip install {packages}"])
    return f"""# {shown}: {case.backend} {case.precision}

Built by optibench {__version__} from {shown} at revision {model.ref.revision} ({model.ref.task}).
{_graphs(file)} `{artifact.sha256}`.

    {commands}

{_made_for(artifact)}{code}
"""


def _graphs(file: str) -> str:
    encoder = encoder_decoder.encoder_of(file)
    return (
        f"The graphs are `{encoder}` and `{file}`, sha256 of their content"
        if encoder
        else f"The graph is `{file}`, sha256 of its content"
    )


def _written(model: Model, writing: Writing, example: Callable[[], Arrays]) -> tuple[list[str], str]:
    """What to install, and the lines that write text."""
    rules = rules_in(example()) if encoder_decoder.is_one(model) else None
    lines = generation_lines.lines(model, writing, HERE, rules)
    greedy = "These lines write greedily: each time the likeliest token."
    if rules and (left := generation_lines.unapplied(rules)):
        greedy += f" They do not apply what generation_config.json says of {', '.join(left)}."
    return generation_lines.needs(model), f"{greedy}\n\n```python\n{lines}\n```"


def _answered(
    model: Model, case: Case, artifact: Artifact, file: str, example: Callable[[], Arrays]
) -> tuple[list[str], str]:
    """What to install, and the lines that answer in one call."""
    text = kind_of(plugins.load("task", model.ref.task)) == "text" and bool(tokenizer_digest(model))
    feeds = (
        'inputs = AutoTokenizer.from_pretrained(here)(["Which build should I ship?"], return_tensors="np")'
        if text
        else "inputs = {  # put your own arrays here\n"
        + "".join(f"    {name!r}: numpy.ones({a.shape}, {a.dtype.name!r}),\n" for name, a in example().items())
        + "}"
    )
    ways = [_plain_lines(plugins.load("backend", case.backend), case, file, feeds, text)]
    if artifact.format in ("onnx", "openvino") and artifact.recipe and not model.is_graph and text:
        ways.append(_transformers_lines(feeds))
    code = "\n\n".join(f"```python\n{lines}\n```" for lines in ways)
    return ["transformers"] if text else [], code


def _made_for(artifact: Artifact) -> str:
    """Where an engine runs, and the shapes that it takes; of a graph, bound to neither, what is said of it."""
    if artifact.recipe.get("kind") != "engine":
        return "".join(f"{note[0].upper()}{note[1:]}.\n\n" for note in artifact.notes)
    capability = artifact.recipe["options"].get("compute_capability")
    card = artifact.recipe["card"]
    where = f"GPUs of compute capability {capability}" if capability else "NVIDIA GPUs from Ampere on"
    where = f"{card['name']} (driver {card['driver']})" if card else where
    versions = ", ".join(f"{name} {version}" for name, version in artifact.recipe["tools"].items())
    ranges = artifact.recipe["profiles"][0]
    shapes = "\n".join(f"- `{name}`: {r['least']} to {r['most']}, fastest at {r['best']}" for name, r in ranges.items())
    return f"""It runs on {where}, by the version that built it ({versions}), on inputs of these shapes:

{shapes}

"""


def _plain_lines(backend: ModuleType, case: Case, file: str, feeds: str, text: bool) -> str:
    imports, lines = backend.usage(file, case.precision)
    if text:
        imports += "\nfrom transformers import AutoTokenizer"
    else:
        imports = f"import numpy\n{imports}"
    return f"from pathlib import Path\n\n{imports}\n\n{HERE}\n{feeds}\n{lines}"


def _transformers_lines(feeds: str) -> str:
    return f"""# The same through transformers, which gives what the original model gives.
from pathlib import Path

from transformers import AutoTokenizer
from transformers.exporters import ExportedModel

{HERE}
{feeds.replace('"np"', '"pt"')}
print(ExportedModel.from_pretrained(here)(**inputs).to_tuple()[0].shape)"""
