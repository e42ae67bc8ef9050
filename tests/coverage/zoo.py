"""Architectures for the sweep, each a small model of random weights made from its config.

``TRIED`` are those that rules were made by; ``UNSEEN`` were drawn from transformers' list afterwards, to see whether an
architecture that nobody thought of has the same chance. An entry says only what differs from ``SIZES``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tests.conftest import write_tokenizer
from tests.tasks.zoo import LETTERS, letters, pictures, scaled, sounds

Write = Callable[[Path], None]

SIZES: dict[str, Any] = {
    # Given to a config where it has a field of that name: every family has its own words for the same sizes.
    "vocab_size": 300,
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 130),
    **dict.fromkeys(("hidden_size", "d_model", "dim", "n_embd", "embedding_size", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "hidden_dim", "n_inner", "d_ff", "d_inner"), 128),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_heads", "n_head", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("head_dim", "d_kv"), 16),
    "num_key_value_heads": 2,
    "image_size": 64,
    "patch_size": 16,
    "pad_token_id": 0,
    **dict.fromkeys(("bos_token_id", "decoder_start_token_id"), 2),
    "eos_token_id": 3,
}


@dataclass(frozen=True)
class Architecture:
    """A transformers class, what its config needs beside SIZES, and what lies beside its weights."""

    name: str
    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    files: tuple[Write, ...] = (write_tokenizer,)
    task: str | None = None
    """Where the files alone do not tell it (--task)."""
    group: str = "text"

    def write(self, folder: Path) -> Path:
        """The checkpoint, with its tokenizer or processor."""
        import torch
        import transformers

        torch.manual_seed(0)
        kind = getattr(transformers, self.model)
        known = {one.name for one in fields(kind.config_class)}
        sizes = {name: value for name, value in SIZES.items() if name in known}
        model = scaled(kind(kind.config_class(**{**sizes, **self.settings}))).eval()
        if self.group == "vision":
            settle(model, pixel_values=torch.randn(8, 3, 64, 64))
        model.save_pretrained(folder)
        for write in self.files:
            write(folder)
        return folder


def write_tones(folder: Path, count: int = 160) -> Path:
    """Sounds of a second that differ in pitch, timbre, loudness and noise, and a table that names them: what a model
    says of the noise that stands in where there are no data hardly varies."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    times = np.arange(16_000) / 16_000
    folder.mkdir(exist_ok=True)
    for number in range(count):
        pitch, glide = rng.uniform(80, 2000), rng.uniform(-0.5, 0.5)
        phase = 2 * np.pi * pitch * (times + glide * times**2)
        wave = sum(rng.uniform() * np.sin(phase * harmonic) for harmonic in range(1, 5))
        wave = 10 ** rng.uniform(-2, -0.5) * (wave + rng.uniform(0, 1) * rng.standard_normal(len(times)))
        soundfile.write(folder / f"{number}.wav", np.clip(wave, -1, 1), 16_000)
    table = folder / "sounds.csv"
    table.write_text("audio\n" + "".join(f"{number}.wav\n" for number in range(count)))
    return table


def settle(model: Any, **inputs: Any) -> None:
    """Gives BatchNorm the statistics of what comes to it, as training would: else nothing is left after many layers."""
    import torch

    normalizing = [one for one in model.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)]
    for one in normalizing:
        one.momentum = 1.0
        one.train()  # these alone: nothing is to be dropped
    if normalizing:
        with torch.no_grad():
            model(**inputs)
    model.eval()


LABELS = {"num_labels": 3}
SQUARE = pictures("ViTImageProcessor", size={"height": 64, "width": 64})


def text(name: str, model: str, **settings: Any) -> Architecture:
    """Reads text; its task is told by the class."""
    labels = LABELS if "Classification" in model else {}
    return Architecture(name, model, {**labels, **settings})


def decoder(name: str, model: str, **settings: Any) -> Architecture:
    """Writes text; here one pass over a text, whose vectors are compared."""
    return Architecture(name, model, settings, group="text, decoders")


def image(name: str, model: str, processor: Write = SQUARE, **settings: Any) -> Architecture:
    return Architecture(name, model, {**LABELS, **settings}, (processor,), group="vision")


def sound(name: str, model: str, *files: Write, **settings: Any) -> Architecture:
    return Architecture(name, model, settings, files or (sounds(return_attention_mask=False),), group="audio")


def both(name: str, model: str, **settings: Any) -> Architecture:
    """Compares pictures with texts."""
    return Architecture(name, model, settings, (SQUARE, write_tokenizer), group="images and text")


STAGES = {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}
CONVNEXT = {**STAGES, "patch_size": 4}
WAVES = {
    "conv_dim": (32, 32, 32),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 4, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
}
SPOKEN = {**WAVES, "vocab_size": len(LETTERS)}
WITH_MASK = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
DETECTING = {"use_timm_backbone": False, "use_pretrained_backbone": False, "num_queries": 10}
SEEN = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
READ = {**SEEN, "vocab_size": 300, "max_position_embeddings": 20, "bos_token_id": 2, "eos_token_id": 3}
TOWERS = {"text_config": READ, "vision_config": {**SEEN, "image_size": 64, "patch_size": 16}, "projection_dim": 32}
WINDOWS = {"patch_size": 4, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
DELTA = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": ["linear_attention", "full_attention"],
}
FEW = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

TRIED = (
    text("ALBERT", "AlbertForSequenceClassification"),
    text("BERT", "BertForMaskedLM"),
    text("BigBird, full attention", "BigBirdForSequenceClassification", attention_type="original_full"),
    text(
        "BigBird, sparse attention",
        "BigBirdForSequenceClassification",
        block_size=4,
        num_random_blocks=1,
        max_position_embeddings=128,
    ),
    text("CamemBERT", "CamembertForTokenClassification"),
    text("DeBERTa-v2", "DebertaV2ForSequenceClassification"),
    text("DistilBERT", "DistilBertForQuestionAnswering"),
    text("ELECTRA", "ElectraForTokenClassification"),
    text("Funnel", "FunnelForSequenceClassification", block_sizes=[1, 1], d_head=16),
    text("LayoutLM", "LayoutLMForTokenClassification"),
    text("Longformer", "LongformerForSequenceClassification", attention_window=[8, 8]),
    text("ModernBERT", "ModernBertForSequenceClassification", cls_token_id=2, sep_token_id=3),
    text("MPNet", "MPNetModel"),
    text("RoBERTa", "RobertaForSequenceClassification"),
    text("XLM-RoBERTa", "XLMRobertaForMaskedLM"),
    text("BART, encoder", "BartModel"),
    text("Marian, encoder", "MarianModel"),
    text("mBART, encoder", "MBartModel"),
    text("Pegasus, encoder", "PegasusModel"),
    text("T5, encoder", "T5Model"),
    decoder("BLOOM", "BloomModel"),
    decoder(
        "DBRX",
        "DbrxModel",
        max_seq_len=130,
        attn_config={"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10_000.0},
        ffn_config={"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    ),
    decoder("Falcon", "FalconModel"),
    decoder("Gemma 2", "Gemma2Model"),
    decoder("Gemma 3", "Gemma3TextModel"),
    decoder("GPT-2", "GPT2Model"),
    decoder("GPT-NeoX", "GPTNeoXModel"),
    decoder("Llama", "LlamaModel"),
    decoder("Mamba", "MambaModel", state_size=8, time_step_rank=4),
    decoder("MiniMax", "MiniMaxModel", num_local_experts=4, block_size=16),
    decoder("Mistral", "MistralModel"),
    decoder("Mixtral", "MixtralModel", **EXPERTS),
    decoder("MPT", "MptModel"),
    decoder("OPT", "OPTModel"),
    decoder("Phi-3", "Phi3Model"),
    decoder("Qwen2", "Qwen2Model"),
    decoder("Qwen3", "Qwen3Model"),
    text("Qwen3.5", "Qwen3_5TextForSequenceClassification", **DELTA),
    decoder("Qwen3.5, experts", "Qwen3_5MoeTextModel", **DELTA, **FEW, shared_expert_intermediate_size=32),
    decoder("SmolLM3", "SmolLM3Model"),
    decoder("StableLM", "StableLmModel"),
    image("BEiT", "BeitForImageClassification"),
    image("ConvNeXt", "ConvNextForImageClassification", **CONVNEXT),
    image("DeiT", "DeiTForImageClassification"),
    image("DETR", "DetrForObjectDetection", **DETECTING),
    image("DINOv2", "Dinov2ForImageClassification"),
    image("MobileNetV2", "MobileNetV2ForImageClassification"),
    image("MobileViT", "MobileViTForImageClassification", hidden_sizes=[32, 48, 64], patch_size=2),
    image("ResNet", "ResNetForImageClassification", **STAGES, embedding_size=16, layer_type="basic"),
    image(
        "SegFormer",
        "SegformerForSemanticSegmentation",
        hidden_sizes=[16, 16, 32, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=32,
        patch_sizes=[7, 3, 3, 3],
    ),
    image("Swin", "SwinForImageClassification", **WINDOWS),
    image("ViT", "ViTForImageClassification"),
    image("YOLOS", "YolosForObjectDetection", image_size=[64, 64], num_detection_tokens=10),
    sound(
        "AST",
        "ASTForAudioClassification",
        sounds("ASTFeatureExtractor", num_mel_bins=32, max_length=128),
        max_length=128,
        num_mel_bins=32,
        num_labels=5,
    ),
    sound("HuBERT", "HubertForSequenceClassification", **WAVES, num_labels=5),
    sound("Wav2Vec2", "Wav2Vec2ForCTC", sounds(return_attention_mask=False), letters, **SPOKEN),
    sound("Wav2Vec2, masked", "Wav2Vec2ForCTC", sounds(return_attention_mask=True), letters, **SPOKEN, **WITH_MASK),
    sound(
        "Whisper, encoder",
        "WhisperForAudioClassification",
        sounds("WhisperFeatureExtractor", feature_size=32, chunk_length=2),
        num_mel_bins=32,
        max_source_positions=100,
        num_labels=5,
    ),
    both("CLIP", "CLIPModel", **TOWERS),
    both("SigLIP", "SiglipModel", text_config=READ, vision_config=TOWERS["vision_config"]),
    # Met on the way: families that differ from those above.
    text("ConvBERT", "ConvBertForSequenceClassification"),
    text("MobileBERT", "MobileBertForSequenceClassification", true_hidden_size=32, intra_bottleneck_size=32),
    text("XLNet", "XLNetForSequenceClassification"),
    decoder("GPT-Neo", "GPTNeoModel", attention_types=[[["global", "local"], 1]]),
    image("ConvNeXt V2", "ConvNextV2ForImageClassification", **CONVNEXT),
    image("RegNet", "RegNetForImageClassification", **STAGES, embedding_size=16, groups_width=8, layer_type="x"),
    image("Swin V2", "Swinv2ForImageClassification", **WINDOWS),
    sound("WavLM", "WavLMForSequenceClassification", **WAVES, num_labels=5),
    text("Data2Vec, text", "Data2VecTextForSequenceClassification"),
    text("PLBart", "PLBartForSequenceClassification"),
)

FACES = {
    "projection_dim": 32,
    "text_config": {**READ, "projection_dim": 32},
    # Its own 1e-10 would leave nothing of a picture.
    "vision_config": {**SEEN, "image_size": 64, "patch_size": 16, "initializer_range": 0.02},
}
RANKS = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16}

# Drawn by random.Random(0).sample from the names of transformers' automatic classes (sequence classification, causal
# language models, image classification, object detection, audio classification, zero-shot image classification), in
# that order, less what takes other inputs than texts, pictures and sounds (tables, Perceiver's bytes).
UNSEEN = (
    text("OLMo", "OlmoForSequenceClassification"),
    text("Jina Embeddings v3", "JinaEmbeddingsV3ForSequenceClassification"),
    text("Seed-OSS", "SeedOssForSequenceClassification"),
    text("OLMo 3", "Olmo3ForSequenceClassification"),
    text("RoFormer", "RoFormerForSequenceClassification"),
    text("Helium", "HeliumForSequenceClassification"),
    text("DeBERTa", "DebertaForSequenceClassification"),
    text("XLM", "XLMForSequenceClassification", emb_dim=64),
    decoder(
        "DeepSeek-V2",
        "DeepseekV2Model",
        **RANKS,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        num_key_value_heads=4,
    ),
    decoder("EXAONE 4", "Exaone4Model"),
    decoder("LFM2", "Lfm2Model", layer_types=["conv", "full_attention"]),
    image("CvT", "CvtForImageClassification", embed_dim=[16, 32, 64], num_heads=[1, 2, 4], depth=[1, 2, 3]),
    image(
        "PVT v2",
        "PvtV2ForImageClassification",
        hidden_sizes=[16, 32, 32, 64],
        num_attention_heads=[1, 2, 2, 4],
        depths=[1, 1, 1, 1],
    ),
    image("BiT", "BitForImageClassification", **STAGES, embedding_size=16, num_groups=4),
    image("Data2Vec, vision", "Data2VecVisionForImageClassification"),
    image("MobileNetV1", "MobileNetV1ForImageClassification", depth_multiplier=0.25),
    image("SwiftFormer", "SwiftFormerForImageClassification", depths=[1, 1, 1, 1], embed_dims=[16, 32, 32, 64]),
    image(
        "DAB-DETR",
        "DabDetrForObjectDetection",
        num_queries=10,
        backbone_config={"model_type": "resnet", **STAGES, "layer_type": "basic", "out_features": ["stage4"]},
    ),
    sound("SEW", "SEWForSequenceClassification", **WAVES, num_labels=5),
    sound("UniSpeech-SAT", "UniSpeechSatForSequenceClassification", **WAVES, num_labels=5),
    sound("Data2Vec, audio", "Data2VecAudioForSequenceClassification", **WAVES, num_labels=5),
    both("AltCLIP", "AltCLIPModel", **{**TOWERS, "text_config": {**READ, "project_dim": 32}}),
    both("BLIP", "BlipModel", **FACES),
    both("Chinese-CLIP", "ChineseCLIPModel", **TOWERS),
    # Drawn by random.Random(1) in the same way, from segmentation and masked language models besides, less EfficientNet
    # (its small model of random weights says the same of everything). PLBart and the texts of Data2Vec, which did not
    # work at first, led to rules and stand above.
    text("FNet", "FNetForSequenceClassification"),
    text("UltraBERT", "UltrabertForSequenceClassification"),
    text("EuroBERT", "EuroBertForSequenceClassification"),
    text(
        "Reformer",
        "ReformerForSequenceClassification",
        axial_pos_shape=(8, 16),
        axial_pos_embds_dim=(32, 32),
        attn_layers=["local", "lsh"],
        local_attn_chunk_length=8,
        lsh_attn_chunk_length=8,
        feed_forward_size=128,
        attention_head_size=16,
        max_position_embeddings=128,
    ),
    text("RemBERT", "RemBertForMaskedLM", input_embedding_size=32, output_embedding_size=48),
    text("RoCBert", "RoCBertForMaskedLM", pronunciation_embed_dim=16, shape_embed_dim=16),
    text("Megatron-BERT", "MegatronBertForMaskedLM"),
    decoder(
        "Bamba",
        "BambaModel",
        attn_layer_indices=[1],
        mamba_n_heads=8,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_chunk_size=16,
    ),
    decoder(
        "MiniMax M3",
        "MiniMaxM3VLTextModel",
        num_local_experts=4,
        num_experts_per_tok=2,
        dense_intermediate_size=64,
        shared_intermediate_size=32,
        rotary_dim=8,
        index_n_heads=2,
        index_head_dim=16,
        index_block_size=16,
        index_topk_blocks=2,
    ),
    decoder("Nemotron", "NemotronModel"),
    decoder("AFMoE", "AfmoeModel", **FEW),
    image("PP-LCNet", "PPLCNetForImageClassification", scale=0.25),
    image("I-JEPA", "IJepaForImageClassification"),
    image("MetaCLIP 2", "MetaClip2ForImageClassification", **{**TOWERS, "text_config": {**READ}}),
    image(
        "PVT",
        "PvtForImageClassification",
        hidden_sizes=[16, 32, 32, 64],
        num_attention_heads=[1, 2, 2, 4],
        depths=[1, 1, 1, 1],
        mlp_ratios=[2, 2, 2, 2],
    ),
    image(
        "Conditional DETR",
        "ConditionalDetrForObjectDetection",
        num_queries=10,
        backbone_config={"model_type": "resnet", **STAGES, "layer_type": "basic", "out_features": ["stage4"]},
    ),
    image(
        "UPerNet",
        "UperNetForSemanticSegmentation",
        backbone_config={"model_type": "convnext", **STAGES, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
        hidden_size=32,
        use_auxiliary_head=False,
    ),
    image(
        "MobileViT v2",
        "MobileViTV2ForSemanticSegmentation",
        width_multiplier=0.25,
        aspp_out_channels=32,
        patch_size=2,
    ),
    sound("SEW-D", "SEWDForSequenceClassification", **WAVES, num_labels=5),
    sound("UniSpeech", "UniSpeechForSequenceClassification", **WAVES, num_labels=5),
    sound("Wav2Vec2-Conformer", "Wav2Vec2ConformerForSequenceClassification", **WAVES, num_labels=5),
    Architecture(
        "SigLIP 2",
        "Siglip2Model",
        {
            "text_config": {**READ, "projection_size": 64},
            "vision_config": {**SEEN, "patch_size": 16, "num_patches": 16},
        },
        (pictures("Siglip2ImageProcessor", patch_size=16, max_num_patches=16), write_tokenizer),
        group="images and text",
    ),
    both(
        "ALIGN",
        "AlignModel",
        text_config=READ,
        vision_config={"width_coefficient": 0.25, "depth_coefficient": 0.2, "image_size": 64, "hidden_dim": 64},
        projection_dim=80,
    ),
    # Drawn by random.Random(2) in the same way, less what reads bytes (Perceiver) or pixels as words (ImageGPT), makes
    # sounds (MusicGen), wraps another library (TimmWrapper) or cuts pages (PP-DocLayout). Nothing was done for these.
    text("CTRL", "CTRLForSequenceClassification", dff=128),
    text("ERNIE", "ErnieForSequenceClassification"),
    text("Doge", "DogeForSequenceClassification"),
    text("OpenAI GPT", "OpenAIGPTForSequenceClassification"),
    text("GPT-OSS", "GptOssForSequenceClassification", **EXPERTS),
    text("NeoMME", "NeoMMEForMaskedLM"),
    text("Nystromformer", "NystromformerForMaskedLM"),
    decoder("Jais 2", "Jais2Model"),
    decoder("Granite MoE", "GraniteMoeModel", **EXPERTS),
    decoder(
        "GLM-4 MoE Lite",
        "Glm4MoeLiteModel",
        **RANKS,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        num_key_value_heads=4,
    ),
    decoder("BioGPT", "BioGptModel"),
    decoder("Gemma", "GemmaModel"),
    decoder("Phi", "PhiModel"),
    decoder("xLSTM", "xLSTMModel", chunk_size=16),
    image(
        "HGNet V2",
        "HGNetV2ForImageClassification",
        stem_channels=[3, 8, 12],
        stage_in_channels=[12, 16, 32, 32],
        stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=[16, 32, 32, 64],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[2, 2, 2, 2],
        hidden_sizes=[16, 32, 32, 64],
    ),
    image(
        "LeViT",
        "LevitForImageClassification",
        hidden_sizes=[32, 48, 64],
        num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
    image(
        "D-FINE",
        "DFineForObjectDetection",
        num_queries=10,
        encoder_hidden_dim=64,
        encoder_in_channels=[32, 32, 64],
        decoder_in_channels=[64, 64, 64],
        backbone_config={
            "model_type": "resnet",
            **STAGES,
            "layer_type": "basic",
            "out_features": ["stage2", "stage3", "stage4"],
        },
    ),
    image(
        "Sapiens 2",
        "Sapiens2ForSemanticSegmentation",
        num_key_value_attention_heads=2,
        num_first_full_attention_layers=1,
        num_last_full_attention_layers=1,
        head_config={"upsample_out_channels": [32, 32], "conv_out_channels": [32]},
    ),
    sound(
        "Wav2Vec2-BERT",
        "Wav2Vec2BertForSequenceClassification",
        sounds("SeamlessM4TFeatureExtractor", feature_size=80, num_mel_bins=80, stride=2),
        num_labels=5,
        feature_projection_input_dim=160,
        output_hidden_size=64,
    ),
    both("TIPS v2", "Tipsv2Model", text_config={**READ}, vision_config={**SEEN, "image_size": 64, "patch_size": 16}),
)

ZOO = {architecture.name: architecture for architecture in (*TRIED, *UNSEEN)}
