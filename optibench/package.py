"""One artifact as a folder of its own: graph, tokenizer, config, and a README whose lines load and run it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from optibench import __version__, inputs, plugins
from optibench.arrays import batches_of
from optibench.build import Workshop
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.plan import Plan
from optibench.values import Artifact, Case, Model

HERE = "here = Path(__file__).parent if '__file__' in globals() else Path('.')"
TOKENIZER_FILES = (
    "tokenizer*.json",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "preprocessor_config.json",
    "processor_config.json",
)


def write(plan: Plan, out: Path, cache: Cache, say: Callable[[str], None]) -> Path:
    """Builds the plan's case and writes it to ``out``, whole or not at all; gives the graph's file.

    Errors: the folder is not empty or cannot be written; the case cannot be built, with the reason.
    """
    asked = plan.request
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
            example = cache.path(workshop.inputs().key) / f"shape-{plan.workload.shapes[0].name}.npz"
            names = list(next(batches_of(example)))
        (folder / "build.log").unlink(missing_ok=True)
        file = _copy_graph(artifact, folder)
        _copy_tokenizer(plan.model, folder)
        (folder / "README.md").write_text(readme(plan.model, case.case, artifact, file.name, names), encoding="utf-8")
        folder.chmod(0o755)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise OptibenchError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out / file.name


def _copy_graph(artifact: Artifact, folder: Path) -> Path:
    """The graph with what belongs to it: everything in its cache entry but the cache's own manifest."""
    path = Path(artifact.path)
    if path.is_dir():
        raise OptibenchError("This backend builds nothing: the model's own folder is what it runs. Export another one.")
    belonging = [path] if not artifact.recipe else [p for p in path.parent.iterdir() if p.name != "entry.json"]
    if not artifact.recipe and path.suffix == ".xml":
        belonging.append(path.with_suffix(".bin"))
    for file in belonging:
        shutil.copy(file, folder / file.name)
    return folder / path.name


def _copy_tokenizer(model: Model, folder: Path) -> None:
    home = Path(model.path)
    home = home if home.is_dir() else home.parent
    for pattern in TOKENIZER_FILES:
        for file in sorted(home.glob(pattern)):
            shutil.copy(file, folder / file.name)
    if (home / "config.json").is_file() and not (folder / "config.json").exists():
        shutil.copy(home / "config.json", folder / "config.json")


def readme(model: Model, case: Case, artifact: Artifact, file: str, names: list[str]) -> str:
    """A README of a few lines of code that run as they stand, in the folder's parent or anywhere."""
    text = bool(inputs.tokenizer_digest(model))
    feeds = (
        'inputs = AutoTokenizer.from_pretrained(here)(["Which build should I ship?"], return_tensors="np")'
        if text
        else "inputs = ...  # arrays by name: " + ", ".join(names)
    )
    backend = plugins.load("backend", case.backend)
    needs = [*getattr(backend, "NEEDS", (case.backend,)), *(["transformers"] if text else [])]
    ways = [_plain_lines(backend, case, file, feeds, text)]
    if artifact.format in ("onnx", "openvino") and artifact.recipe and not model.is_graph and text:
        ways.append(_transformers_lines(feeds))
    code = "\n\n".join(f"```python\n{lines}\n```" for lines in ways)
    return f"""# {model.ref.id}: {case.backend} {case.precision}

Built by optibench {__version__} from {model.ref.id} at revision {model.ref.revision} ({model.ref.task}).
The graph is `{file}`, sha256 of its content `{artifact.sha256}`.

    pip install {" ".join(needs)}

{_made_for(artifact)}{code}
"""


def _made_for(artifact: Artifact) -> str:
    """Where an engine runs, and the shapes that it takes; nothing for a graph, which is not bound to either."""
    if artifact.recipe.get("kind") != "engine":
        return ""
    capability = artifact.recipe["options"]["compute_capability"]
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
    tokenizer = "from transformers import AutoTokenizer\n" if text else ""
    return f"from pathlib import Path\n\n{imports}\n{tokenizer}\n{HERE}\n{feeds}\n{lines}"


def _transformers_lines(feeds: str) -> str:
    return f"""# The same through transformers, which gives what the original model gives.
from pathlib import Path

from transformers import AutoTokenizer
from transformers.exporters import ExportedModel

{HERE}
{feeds.replace('"np"', '"pt"')}
print(ExportedModel.from_pretrained(here)(**inputs).to_tuple()[0].shape)"""
