"""What is no checkpoint that transformers reads is called what it is, at once, with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from optibench import formats, known_models, models
from optibench.errors import OptibenchError

BERT = {"model_type": "bert", "architectures": ["BertModel"]}
LORA = {"peft_type": "LORA", "base_model_name_or_path": "user/base"}


def folder_of(place: Path, files: dict[str, Any]) -> Path:
    """A folder of JSON files, of weights under names of safetensors, and of others that hold anything."""
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".safetensors"):
            save_file({"w": np.ones(2, np.float32)}, place / name)
        else:
            (place / name).write_text(json.dumps(content))
    return place


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"adapter_config.json": LORA, "adapter_model.safetensors": 0}, "an adapter (LORA) for user/base"),
        ({"config.json": BERT, "adapter_config.json": LORA, "adapter_model.safetensors": 0}, "an adapter (LORA)"),
        ({"model_index.json": {"_class_name": "FluxPipeline"}, "unet/config.json": {}}, "pipeline (FluxPipeline)"),
        ({"config.json": {"_class_name": "UNet"}, "diffusion.safetensors": 0}, "part of a diffusers pipeline (UNet)"),
        ({"model-q4.gguf": 0}, "only as model-q4.gguf, for llama.cpp"),
        ({"config.json": BERT, "tf_model.h5": 0}, "only as tf_model.h5, for TensorFlow"),
        ({"params.json": {}, "consolidated.safetensors": 0}, "consolidated.safetensors, for its makers' own code"),
        ({"config.json": BERT, "onnx/model.onnx": 0, "onnx/model_int8.onnx": 0}, "that file: here/onnx/model.onnx"),
        ({"config.json": BERT, "openvino_model.xml": 0, "openvino_model.bin": 0}, "here/openvino_model.xml"),
        ({"a/config.json": BERT, "a/model.safetensors": 0}, "holds one: a. Give here/a"),
        ({"config.json": BERT, "model.fp16.safetensors": 0}, "expected model.safetensors"),
        ({"config.json": {"architecture": "resnet18", "pretrained_cfg": {}}, "model.safetensors": 0}, "timm (resnet"),
        ({"config.json": BERT | {"quantization_config": {"quant_method": "gptq"}}, "model.safetensors": 0}, "(gptq)"),
        ({"config.json": BERT | {"quantization": {"bits": 4}}, "model.safetensors": 0}, "quantized already (mlx)"),
        ({"config.json": BERT | {"model_type": "brandnew"}, "model.safetensors": 0}, "of the type brandnew"),
        ({"config.json": {"auto_map": {"AutoModel": "a.B"}}, "model.safetensors": 0}, "which is refused"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_checkpoint_is_called_what_it_is(tmp_path: Path, files: dict[str, Any], words: str) -> None:
    with pytest.raises(OptibenchError) as caught:
        models.resolve(str(folder_of(tmp_path / "here", files)))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("VitsModel", "text-to-waveform"),
        ("SamModel", "mask-generation"),
        ("TapasForQuestionAnswering", "table-question-answering"),
        ("GitForCausalLM", "image-text-to-text"),
        ("LlamaForRewardModel", "reward-model"),
        ("BertForMultipleChoice", "multiple-choice"),
        ("VideoMAEForVideoClassification", "video-classification"),
    ],
)
def test_what_a_model_is_for_is_said_where_it_is_not_run(tmp_path: Path, architecture: str, task: str) -> None:
    config = {**BERT, "architectures": [architecture]}
    with pytest.raises(OptibenchError, match=f"a model for {task}, which this version does not run"):
        models.resolve(str(folder_of(tmp_path, {"config.json": config, "model.safetensors": 0})))


def test_a_model_beside_other_files_of_weights_is_taken(tmp_path: Path) -> None:
    files = {"config.json": BERT, "model.safetensors": 0, "adapter_model.safetensors": 0, "tf_model.h5": 0}
    assert models.resolve(str(folder_of(tmp_path, files | {"onnx/model.onnx": 0}))).ref.task == "feature-extraction"


def test_a_file_in_the_place_of_a_folder_is_told_what_to_give(tmp_path: Path) -> None:
    folder_of(tmp_path, {"config.json": BERT, "model.safetensors": 0, "model-q4.gguf": 0})
    with pytest.raises(OptibenchError, match="for llama"):
        models.resolve(str(tmp_path / "model-q4.gguf"))
    with pytest.raises(OptibenchError, match=f"Give its folder: {tmp_path}"):
        models.resolve(str(tmp_path / "model.safetensors"))


def test_pickles_are_left_to_the_refusal_that_knows_their_risk() -> None:
    assert formats.of_names(["pytorch_model.bin", "tf_model.h5"], "") == ""


def test_types_without_a_folder_of_their_own_are_known() -> None:
    assert known_models.known_type("gemma3_text")  # in Gemma 3's
    assert not known_models.known_type("")
