"""Folders that hold something else than a checkpoint: told by the files that their own tools write, with what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from optibench.embedders import read_json
from optibench.errors import OptibenchError

ORIGINAL = "Give the model that it was made from, in safetensors and not quantized"
FOREIGN = (
    # Files -> whose they are, what to do.
    ("*.gguf", "llama.cpp (GGUF)", ORIGINAL),
    ("*.msgpack", "Flax", "Save it by PyTorch (transformers 4: from_pretrained(FOLDER, from_flax=True))"),
    ("*.h5", "TensorFlow", "Save it by PyTorch (transformers 4: from_pretrained(FOLDER, from_tf=True))"),
    ("*.keras", "Keras", "Export it to ONNX (model.export(PATH, format='onnx')), and give that file"),
    ("*.tflite", "LiteRT", ORIGINAL),
    ("consolidated*", "its makers' own code", "Give the same model in Hugging Face format"),
    ("*.pkl", "Python alone (pickle)", "Export it to ONNX (of scikit-learn: skl2onnx), and give that file"),
    ("*.joblib", "Python alone (pickle)", "Export it to ONNX (of scikit-learn: skl2onnx), and give that file"),
)
PICKLED = "pytorch_model*.bin*"


def check_files(folder: Path, shown: str) -> None:
    """Error: there are no weights that transformers reads, and what is there is known."""
    if (folder / "config.json").is_file() and any(
        file.name != "adapter_model.safetensors" for file in folder.glob("*.safetensors")
    ):
        return
    names = [file.relative_to(folder).as_posix() for file in (*folder.glob("*"), *folder.glob("*/*"))]
    if found := _adapter(folder) or _pipeline(folder) or of_names(names, f"{folder.name}/") or _inside(folder):
        raise OptibenchError(f"{shown} {found}.")


def check_config(config: Mapping[str, Any], shown: str) -> None:
    """Error: the config says that the weights are for another library, or are quantized already."""
    if name := config.get("_class_name"):
        raise OptibenchError(
            f"{shown} is a part of a diffusers pipeline ({name}), which this version does not load. Export it to ONNX, "
            "and give that file."
        )
    if "pretrained_cfg" in config:
        raise OptibenchError(
            f"{shown} is a model of timm ({config.get('architecture')}), which this version does not load. Export it "
            "to ONNX (timm's onnx_export.py, or torch.onnx.export), and give that file."
        )
    said = config.get("quantization_config")
    way = said.get("quant_method") or "its quantization_config" if isinstance(said, Mapping) else None
    if isinstance(config.get("quantization"), Mapping):  # MLX's own word
        way = "mlx"
    if way:
        raise OptibenchError(
            f"{shown} is quantized already ({way}), so it is no reference that builds could be compared with, and no "
            "exporter takes it. Give the model that it was made from: optibench quantizes it itself."
        )


def _adapter(folder: Path) -> str:
    said = read_json(folder / "adapter_config.json")
    if not isinstance(said, Mapping):
        return ""
    base = said.get("base_model_name_or_path") or "its base model"
    return (
        f"holds an adapter ({said.get('peft_type') or 'PEFT'}) for {base}, no whole model. Merge them, and give the "
        "folder that this writes: peft.AutoPeftModel...from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW)"
    )


def _pipeline(folder: Path) -> str:
    said = read_json(folder / "model_index.json")
    if not isinstance(said, Mapping):
        return ""
    parts = ", ".join(sorted(name for name in said if (folder / name).is_dir()))
    return (
        f"is a diffusers pipeline ({said.get('_class_name', 'of several models')}), which this version does not run. "
        f"Export the part that matters ({parts or 'its denoiser'}) to ONNX, and give that file"
    )


def of_names(names: Sequence[str], place: str) -> str:
    """What files of these names are, where none holds weights that transformers reads: "" or the end of a sentence
    that begins with the model's name. ``place`` is written before a file to be given."""
    if any(fnmatch(name, PICKLED) for name in names):
        return ""
    graphs = [
        name for name in names if name.endswith(".onnx") or (name.endswith(".xml") and name[:-3] + "bin" in names)
    ]
    if graphs:
        first = min(graphs, key=lambda name: (name.count("_"), name))
        others = f" (or another of the {len(graphs)} graphs there)" if len(graphs) > 1 else ""
        return f"holds no weights but a finished graph. Give that file: {place}{first}{others}"
    for pattern, whose, do in FOREIGN:
        if found := next((name for name in sorted(names) if fnmatch(name, pattern)), ""):
            return f"has its weights only as {found}, for {whose}. {do}"
    return ""


def _inside(folder: Path) -> str:
    """A folder whose folders are models: a training's checkpoints, say."""
    models = sorted(file.parent for file in folder.glob("*/config.json") if any(file.parent.glob("*.safetensors")))
    if (folder / "config.json").exists() or not models:
        return ""
    last = max(models, key=lambda one: (one.stat().st_mtime, one.name))
    names = ", ".join(one.name for one in models[:6])
    count = "one" if len(models) == 1 else "several"
    return f"is no model itself, but holds {count}: {names}. Give {folder.name}/{last.name}, say"
