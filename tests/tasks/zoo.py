"""Checkpoints of many architectures with random weights, as a user has them: config, weights, processor, tokenizer.

Weights are larger than transformers' own first ones, so that outputs vary and a comparison can fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import WORDS, write_tokenizer

TEXT = {
    "vocab_size": len(WORDS) + 5,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 130,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
DISTIL = {
    "vocab_size": len(WORDS) + 5,
    "dim": 64,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 128,
    "initializer_range": 0.2,
}
SEEING = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.2,
}
HEARING = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 4, 4),
    "initializer_range": 0.2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
}
STAGES = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}
DETR = {
    "d_model": 32,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 64),
}
BACKBONE = {
    "model_type": "swin",
    "image_size": 64,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1] * 4,
    "num_heads": [1, 1, 2, 2],
    "window_size": 2,
}
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
NLI = {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}, "num_labels": 3}
TAGS = {"id2label": {0: "O", 1: "B-PER", 2: "I-PER"}, "num_labels": 3}


def scaled(model: Any) -> Any:
    """Weights of matrices and kernels that keep an input's scale, whatever a config's initializer does."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "embed" not in name and "token" not in name:
                torch.nn.init.normal_(parameter, std=1.4 / parameter[0].numel() ** 0.5)
    return model


def checkpoint(folder: Path, model: str, config: str, settings: dict[str, Any], *files: Callable[[Path], None]) -> Path:
    """Writes a checkpoint and what belongs beside it."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, model)(getattr(transformers, config)(**settings))
    scaled(made).save_pretrained(folder)
    for write in files:
        write(folder)
    return folder


def pictures(kind: str, **settings: Any) -> Callable[[Path], None]:
    """A preprocessor_config.json as on the Hub."""

    def write(folder: Path) -> None:
        import transformers

        getattr(transformers, f"{kind}Pil")(**settings).save_pretrained(folder)

    return write


def sounds(kind: str = "Wav2Vec2FeatureExtractor", **settings: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        import transformers

        getattr(transformers, kind)(**settings).save_pretrained(folder)

    return write


def letters(folder: Path) -> None:
    """A CTC tokenizer."""
    import transformers

    (folder / "vocab.json").write_text(json.dumps({letter: number for number, letter in enumerate(LETTERS)}))
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), unk_token="<unk>", pad_token="<pad>").save_pretrained(
        folder
    )


SQUARE = pictures("ViTImageProcessor", size={"height": 64, "width": 64})
SMALL = {"image_size": 64, "patch_size": 16, **SEEING}
TOWERS = {
    "text_config": {**TEXT, "max_position_embeddings": 20, "eos_token_id": 3, "bos_token_id": 2},
    "vision_config": {**SMALL},
}
Zoo = dict[str, tuple[str, tuple[Any, ...]]]

ZOO: Zoo = {
    # name -> task, and what ``checkpoint`` is given
    "BERT tags": (
        "token-classification",
        ("BertForTokenClassification", "BertConfig", {**TEXT, **TAGS}, write_tokenizer),
    ),
    "DistilBERT answers": (
        "question-answering",
        ("DistilBertForQuestionAnswering", "DistilBertConfig", DISTIL, write_tokenizer),
    ),
    "RoBERTa ranks": (
        "text-ranking",
        ("RobertaForSequenceClassification", "RobertaConfig", {**TEXT, "num_labels": 1}, write_tokenizer),
    ),
    "DeBERTa-v2 entails": (
        "zero-shot-classification",
        ("DebertaV2ForSequenceClassification", "DebertaV2Config", {**TEXT, **NLI}, write_tokenizer),
    ),
    "mT5's encoder": (
        "feature-extraction",
        (
            "MT5EncoderModel",
            "MT5Config",
            {"vocab_size": len(WORDS) + 5, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4},
            write_tokenizer,
        ),
    ),
    "BART entails": (
        "text-classification",
        (
            "BartForSequenceClassification",
            "BartConfig",
            {**DETR, **NLI, "vocab_size": len(WORDS) + 5, "max_position_embeddings": 130, "eos_token_id": 3},
            write_tokenizer,
        ),
    ),
    "BERT retrieves": ("text-retrieval", ("BertModel", "BertConfig", TEXT, write_tokenizer)),
    "ViT": ("image-classification", ("ViTForImageClassification", "ViTConfig", {**SMALL, "num_labels": 7}, SQUARE)),
    "ResNet": (
        "image-classification",
        (
            "ResNetForImageClassification",
            "ResNetConfig",
            {**STAGES, "embedding_size": 16, "layer_type": "basic", "num_labels": 7},
            pictures("ConvNextImageProcessor", size={"shortest_edge": 64}),
        ),
    ),
    "ConvNeXt": (
        "image-classification",
        (
            "ConvNextForImageClassification",
            "ConvNextConfig",
            {**STAGES, "num_labels": 7},
            pictures("ConvNextImageProcessor", size={"shortest_edge": 64}),
        ),
    ),
    "Swin": (
        "image-classification",
        (
            "SwinForImageClassification",
            "SwinConfig",
            {
                "image_size": 64,
                "patch_size": 4,
                "embed_dim": 16,
                "depths": [1, 1],
                "num_heads": [2, 2],
                "window_size": 4,
                "num_labels": 7,
            },
            SQUARE,
        ),
    ),
    "CLIP": (
        "zero-shot-image-classification",
        (
            "CLIPModel",
            "CLIPConfig",
            TOWERS,
            pictures("CLIPImageProcessor", size={"shortest_edge": 64}, crop_size=64),
            write_tokenizer,
        ),
    ),
    "SigLIP": (
        "zero-shot-image-classification",
        (
            "SiglipModel",
            "SiglipConfig",
            TOWERS,
            pictures("SiglipImageProcessor", size={"height": 64, "width": 64}),
            write_tokenizer,
        ),
    ),
    "SegFormer": (
        "image-segmentation",
        (
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            {
                "hidden_sizes": [16, 16, 32, 32],
                "depths": [1, 1, 1, 1],
                "num_attention_heads": [1, 1, 2, 2],
                "decoder_hidden_size": 32,
                "num_labels": 7,
            },
            pictures("SegformerImageProcessor", size={"height": 64, "width": 64}),
        ),
    ),
    "MaskFormer": (
        "image-segmentation",
        (
            "MaskFormerForInstanceSegmentation",
            "MaskFormerConfig",
            {
                "backbone_config": {**BACKBONE, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
                "decoder_config": {"model_type": "detr", **DETR, "num_queries": 6},
                "fpn_feature_size": 32,
                "mask_feature_size": 32,
                "num_labels": 4,
            },
            pictures("MaskFormerImageProcessor", size={"height": 64, "width": 64}),
        ),
    ),
    "RT-DETR": (
        "object-detection",
        (
            "RTDetrForObjectDetection",
            "RTDetrConfig",
            {
                "backbone_config": {
                    "model_type": "rt_detr_resnet",
                    **STAGES,
                    "embedding_size": 16,
                    "layer_type": "basic",
                    "out_features": ["stage2", "stage3", "stage4"],
                },
                "encoder_in_channels": [32, 32, 64],
                "decoder_in_channels": [32, 32, 32],
                "encoder_hidden_dim": 32,
                "encoder_ffn_dim": 64,
                "encoder_attention_heads": 2,
                "d_model": 32,
                "decoder_ffn_dim": 64,
                "decoder_layers": 1,
                "decoder_attention_heads": 2,
                "num_queries": 10,
                "num_labels": 7,
            },
            pictures("RTDetrImageProcessor", size={"height": 64, "width": 64}),
        ),
    ),
    "DINOv3": ("image-feature-extraction", ("DINOv3ViTModel", "DINOv3ViTConfig", SMALL, SQUARE)),
    "YOLOS": (
        "object-detection",
        (
            "YolosForObjectDetection",
            "YolosConfig",
            {**SEEING, "image_size": [64, 64], "patch_size": 16, "num_detection_tokens": 10, "num_labels": 7},
            pictures("YolosImageProcessor", size={"height": 64, "width": 64}),
        ),
    ),
    "DETR": (
        "object-detection",
        (
            "DetrForObjectDetection",
            "DetrConfig",
            {**DETR, "use_timm_backbone": False, "use_pretrained_backbone": False, "num_queries": 10, "num_labels": 7},
            pictures("DetrImageProcessor", size={"shortest_edge": 64, "longest_edge": 96}),
        ),
    ),
    "Wav2Vec2": (
        "automatic-speech-recognition",
        (
            "Wav2Vec2ForCTC",
            "Wav2Vec2Config",
            {**HEARING, "vocab_size": len(LETTERS), "pad_token_id": 0},
            sounds(return_attention_mask=False),
            letters,
        ),
    ),
    "Wav2Vec2 with a mask": (
        "automatic-speech-recognition",
        (
            "Wav2Vec2ForCTC",
            "Wav2Vec2Config",
            {
                **HEARING,
                "vocab_size": len(LETTERS),
                "pad_token_id": 0,
                "feat_extract_norm": "layer",
                "do_stable_layer_norm": True,
            },
            sounds(return_attention_mask=True),
            letters,
        ),
    ),
    "HuBERT": (
        "audio-classification",
        (
            "HubertForSequenceClassification",
            "HubertConfig",
            {**HEARING, "num_labels": 5},
            sounds(return_attention_mask=False),
        ),
    ),
    "AST": (
        "audio-classification",
        (
            "ASTForAudioClassification",
            "ASTConfig",
            {**SEEING, "num_labels": 5, "max_length": 128, "num_mel_bins": 32},
            sounds("ASTFeatureExtractor", num_mel_bins=32, max_length=128),
        ),
    ),
}


def write(folder: Path, name: str) -> Path:
    """The checkpoint of that name, written to ``folder``."""
    return checkpoint(folder, *ZOO[name][1])
