"""What a model's name and files say: its task, its limits, its labels, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from optibench import embedders, models, package, processors, weights
from optibench.errors import OptibenchError
from optibench.tasks import sentence_similarity, text_retrieval
from tests.conftest import write_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"], "model_type": "bert"}))
    save_file({"w": np.ones((2, 3), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def test_the_demo_resolves_to_the_packaged_model() -> None:
    model = models.resolve("minilm")
    assert model.ref.id == "minilm"
    assert model.ref.source == "package"
    assert model.ref.task == "sentence-similarity"
    assert model.ref.weights_sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert model.max_length == 512
    assert model.pooling == "mean"


def test_every_alias_names_a_hub_id_or_a_package() -> None:
    for name, alias in models.aliases().items():
        assert alias.id.startswith("package:") or alias.id.count("/") == 1, name


def test_a_package_path_cannot_leave_its_package() -> None:
    assert models.local_path("package:gensim/../../../../etc/passwd") is None
    assert models.local_path("package:no_such_package/model") is None


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForSequenceClassification", "text-classification"),
        ("RobertaForMaskedLM", "fill-mask"),
        ("MPNetModel", "feature-extraction"),
        ("ViTForImageClassification", "image-classification"),
        ("LlamaForCausalLM", "text-generation"),
        ("GPT2LMHeadModel", "text-generation"),
        ("WhisperForConditionalGeneration", "text2text-generation"),
    ],
)
def test_the_task_is_told_by_the_architectures_ending(architecture: str, task: str, tmp_path: Path) -> None:
    assert models.inferred_task({"architectures": [architecture]}, tmp_path) == task


def test_sentence_transformers_marks_go_before_the_architecture(folder: Path) -> None:
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    model = models.resolve(str(folder))
    assert model.ref.task == "sentence-similarity"
    assert model.pooling == "cls"


def test_a_task_that_is_not_run_is_named_with_those_that_are(folder: Path) -> None:
    config = {"architectures": ["DPRQuestionEncoder"]}
    with pytest.raises(OptibenchError, match=r"depth-estimation, which this version does not run\. Tasks: .*fill"):
        models.task_of(config, folder, None, "depth-estimation")  # as the Hub tags it


def test_a_model_that_turns_texts_into_texts_must_be_told_what_for(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"architectures": ["T5ForConditionalGeneration"]}))
    with pytest.raises(OptibenchError, match=r"do not say what for \(translation or summarization\).*--task"):
        models.resolve(str(folder))


@pytest.mark.parametrize(
    ("config", "tokenizer", "limit"),
    [
        ({"max_position_embeddings": 512}, {}, 512),
        ({"max_position_embeddings": 514, "model_type": "bert"}, {}, 514),
        ({"max_position_embeddings": 514, "model_type": "roberta"}, {}, 512),
        ({"max_position_embeddings": 514, "model_type": "data2vec-text", "pad_token_id": 1}, {}, 512),
        ({"max_position_embeddings": 512, "model_type": "roberta", "pad_token_id": 1}, {}, 510),
        ({"max_position_embeddings": 130, "model_type": "mpnet", "pad_token_id": 1}, {}, 128),
        ({"max_position_embeddings": 100, "model_type": "xlm-roberta", "pad_token_id": 0}, {}, 99),
        ({"max_position_embeddings": 512, "model_type": "electra", "pad_token_id": 0}, {}, 512),
        ({"max_position_embeddings": 512}, {"model_max_length": 256}, 256),
        ({"max_position_embeddings": 512}, {"model_max_length": 1e30}, 512),
        ({"n_positions": 1024}, {}, 1024),
        ({}, {}, None),
    ],
)
def test_the_longest_input_is_the_smallest_limit_that_is_told(
    config: dict[str, Any], tokenizer: dict[str, Any], limit: int | None
) -> None:
    assert models.max_length_of(config, tokenizer) == limit


def test_labels_come_in_the_order_of_the_logits(folder: Path) -> None:
    names = {str(n): f"L{n}" for n in reversed(range(12))}
    config = {"architectures": ["BertForSequenceClassification"], "id2label": names}
    (folder / "config.json").write_text(json.dumps(config))
    assert models.resolve(str(folder)).labels == tuple(f"L{n}" for n in range(12))


def test_the_id_of_a_local_model_is_its_folders_name_never_its_path(folder: Path) -> None:
    model = models.resolve(str(folder))
    assert model.ref.id == folder.name
    assert "/" not in model.ref.revision


def test_a_revision_follows_weights_and_config(folder: Path) -> None:
    first = models.resolve(str(folder)).ref
    save_file({"w": np.zeros((2, 3), np.float32)}, folder / "model.safetensors")
    second = models.resolve(str(folder)).ref
    assert first.revision != second.revision
    assert first.weights_sha256 != second.weights_sha256


def test_remote_code_of_a_type_that_transformers_has_is_not_needed(folder: Path) -> None:
    config = {"architectures": ["BertModel"], "model_type": "bert", "auto_map": {"AutoModel": "x.Y"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert models.resolve(str(folder)).ref.task == "feature-extraction"


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(OptibenchError, match=r"names model-00002-of-00002\.safetensors"):
        models.resolve(str(folder))


def test_weights_in_files_beside_a_graph_are_part_of_it_and_missed_when_they_are_gone(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    shape = ["n", 64]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], [table])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path, save_as_external_data=True, location="model.data", size_threshold=0)
    assert [file.name for file in weights.graph_files(path)] == ["model.onnx", "model.data"]
    (tmp_path / "model.data").unlink()
    with pytest.raises(OptibenchError, match=r"keeps weights in model\.data"):
        models.resolve(str(path))


@pytest.mark.parametrize(
    ("config", "way"),
    [
        ({}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),  # as sentence-transformers writes it since version 5
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_pooling_is_what_the_model_says(config: dict[str, Any], way: str) -> None:
    assert embedders.pooling_of(config, "user/model") == way


@pytest.mark.parametrize("ways", [["weightedmean_tokens"], ["cls_token", "mean_tokens"]])
def test_a_pooling_that_is_not_known_is_refused(ways: list[str]) -> None:
    with pytest.raises(OptibenchError, match=f"pools its tokens by {' and '.join(ways)}"):
        embedders.pooling_of({f"pooling_mode_{way}": True for way in ways}, "user/model")
    with pytest.raises(OptibenchError, match=f"pools its tokens by {' and '.join(ways)}"):
        embedders.pooling_of({"pooling_mode": ways}, "user/model")


def test_a_module_that_changes_embeddings_is_refused_where_they_are_judged(folder: Path) -> None:
    kinds = ("base.modules.transformer.Transformer", "models.Pooling", "base.modules.dense.Dense", "models.Normalize")
    (folder / "modules.json").write_text(json.dumps([{"type": f"sentence_transformers.{kind}"} for kind in kinds]))
    with pytest.raises(OptibenchError, match="makes its embeddings with Dense besides"):
        models.resolve(str(folder))
    assert models.resolve(str(folder), task="feature-extraction").ref.task == "feature-extraction"


def test_a_text_is_cut_where_sentence_transformers_cuts_it_and_has_its_prompt(folder: Path) -> None:
    write_tokenizer(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    said = {"prompts": {"query": "film ", "document": "music "}, "default_prompt_name": "document"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    model = models.resolve(str(folder))
    tokenizer = processors.load_tokenizer(model)

    def texts(task: Any, row: dict[str, str]) -> list[str]:
        return [
            " ".join(tokenizer.decode(one["input_ids"]).split())
            for one in task.encode([row], tokenizer, model, 0).inputs
        ]

    pair = {"text": "good film", "text_pair": "the of and to in a is"}
    assert texts(sentence_similarity, pair) == ["[CLS] music good film [SEP]", "[CLS] music the of and [SEP]"]
    pair = {"query": "good actor", "document": "great plot"}
    assert texts(text_retrieval, pair) == ["[CLS] film good actor [SEP]", "[CLS] music great plot [SEP]"]
    assert embedders.use(model) == {"cut": 6, "prompts": ["music ", "film ", "music "]}


def test_a_classifier_of_one_label_ranks(folder: Path) -> None:
    config = {"architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    assert models.inferred_task(config, folder, "text-classification") == "text-ranking"
    config["id2label"] = {"0": "no", "1": "yes"}
    assert models.inferred_task(config, folder) == "text-classification"


def test_an_exported_build_keeps_the_files_that_its_embeddings_hang_on(folder: Path, tmp_path: Path) -> None:
    for name in embedders.FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text('{"pooling_mode": "cls"}')
    (out := tmp_path / "out").mkdir()
    package._copy_tokenizer(models.resolve(str(folder)), out)
    assert all((out / name).is_file() for name in embedders.FILES)


def test_a_task_that_cannot_be_told_names_the_architecture(folder: Path) -> None:
    with pytest.raises(OptibenchError, match="cannot be told from its architecture, DPRQuestionEncoder"):
        models.task_of({"architectures": ["DPRQuestionEncoder"]}, folder, None, None)


def test_a_bare_model_beside_an_image_processor_sees(folder: Path) -> None:
    config = {"architectures": ["Dinov2Model"]}
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "BitImageProcessor"}))
    assert models.inferred_task(config, folder) == "image-feature-extraction"
    (folder / "tokenizer.json").write_text("{}")
    assert models.inferred_task(config, folder) == "feature-extraction"


SOUND = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
PICTURE = {"image_processor_type": "ViTImageProcessor"}


@pytest.mark.parametrize(
    ("architecture", "prepared", "config", "task"),
    [
        # As the Hub's old files have it: a feature extractor of pictures.
        (
            "ViTModel",
            {"feature_extractor_type": "ViTFeatureExtractor", "do_resize": True},
            {},
            "image-feature-extraction",
        ),
        ("ViTMAEForPreTraining", PICTURE, {}, "image-feature-extraction"),
        ("Wav2Vec2ForPreTraining", SOUND, {}, "audio-feature-extraction"),
        ("HubertModel", {"feature_extractor": SOUND}, {}, "audio-feature-extraction"),
        ("ClapModel", SOUND, {"text_config": {"a": 1}, "audio_config": {"a": 1}}, "zero-shot-audio-classification"),
        ("OwlViTForObjectDetection", PICTURE, {"text_config": {"a": 1}}, "zero-shot-object-detection"),
        ("ViltForQuestionAnswering", PICTURE, {}, "visual-question-answering"),
        ("LlavaForConditionalGeneration", {"image_processor": PICTURE}, {}, "image-text-to-text"),
        ("Gemma3ForConditionalGeneration", {}, {"vision_config": {"a": 1}}, "image-text-to-text"),
        ("VisionEncoderDecoderModel", PICTURE, {"is_encoder_decoder": True}, "image-to-text"),
        ("Qwen2AudioForConditionalGeneration", SOUND, {}, "audio-text-to-text"),
        ("SpeechEncoderDecoderModel", SOUND, {"is_encoder_decoder": True}, "automatic-speech-recognition"),
    ],
)
def test_a_model_that_sees_or_hears_is_not_taken_for_one_of_texts(
    architecture: str, prepared: dict[str, Any], config: dict[str, Any], task: str, folder: Path
) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared))
    assert models.inferred_task({"architectures": [architecture], **config}, folder) == task


def test_two_models_of_texts_that_were_put_together_rewrite(folder: Path) -> None:
    with pytest.raises(OptibenchError, match=r"do not say what for \(translation or summarization\)"):
        models.task_of({"architectures": ["EncoderDecoderModel"]}, folder, None, None)


@pytest.mark.parametrize(("architecture", "count"), [("BertForSequenceClassification", 2), ("BertForMaskedLM", 0)])
def test_two_labels_without_names_are_left_out_of_a_config(folder: Path, architecture: str, count: int) -> None:
    """transformers writes no id2label where it is its own default."""
    config = json.loads((folder / "config.json").read_text()) | {"architectures": [architecture]}
    config.pop("id2label", None)
    (folder / "config.json").write_text(json.dumps(config))
    assert models.resolve(str(folder)).labels == ("LABEL_0", "LABEL_1")[:count]
