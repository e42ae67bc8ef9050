"""Decoders of several architectures, exported once for prefill and decode: greedy tokens are transformers' own.

OPTIBENCH_ALL_DECODERS=1 (tox -e generation) tries every architecture on both runtimes (minutes); else one on one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from optibench import decoders, generation, models, plugins, targets
from optibench.backends import onnxruntime
from optibench.backends.openvino import run_decoder
from optibench.cache import Cache
from optibench.decoding import Place
from optibench.errors import CaseFailed, Unsupported
from optibench.export import check_second_shape, exported
from optibench.inputs import make, recipe, rows_of
from optibench.plan import Request, plan_of
from optibench.values import Build, Case, Job, Model, Workload
from tests.fixtures.decoder import write_tokenizer

pytestmark = pytest.mark.slow
ALL = bool(os.environ.get("OPTIBENCH_ALL_DECODERS"))
COMMON = {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
LLAMA = {
    **COMMON, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "head_dim": 16, "initializer_range": 0.3,
}  # fmt: skip
ZOO: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": (
        "GPT2",
        {**COMMON, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.3},
    ),
    "Llama": ("Llama", LLAMA),
    "Qwen2": ("Qwen2", LLAMA),
    "Qwen3": ("Qwen3", LLAMA),
    "Mistral": ("Mistral", {**LLAMA, "sliding_window": 16}),
    "Gemma 2": ("Gemma2", {**LLAMA, "sliding_window": 16, "query_pre_attn_scalar": 16}),
    "Gemma 3": ("Gemma3Text", {**LLAMA, "sliding_window": 16, "query_pre_attn_scalar": 16, "num_hidden_layers": 6}),
    "Phi-3": ("Phi3", {**LLAMA, "num_key_value_heads": 4}),
    "GPT-NeoX": ("GPTNeoX", {key: value for key, value in LLAMA.items() if "key_value" not in key}),
    "Granite 4, hybrid": (
        "GraniteMoeHybrid",
        {
            **LLAMA,
            "layer_types": ["mamba", "attention"],
            "mamba_n_heads": 8,
            "mamba_d_head": 16,
            "mamba_d_state": 8,
            "mamba_chunk_size": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 32,
        },
    ),
    "LFM2": ("Lfm2", {**LLAMA, "layer_types": ["conv", "full_attention"]}),
    "BLOOM": ("Bloom", {**COMMON, "hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}),
}
HEADS = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}
PAIRS = [(name, backend) for name in ZOO for backend in ("onnxruntime", "openvino")]
CHOSEN = PAIRS if ALL else [("GPT-2", "openvino"), ("Llama", "onnxruntime"), ("Granite 4, hybrid", "onnxruntime")]


def write(folder: Path, name: str) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    kind, settings = ZOO[name]
    config = getattr(transformers, f"{kind}Config")(**settings)
    getattr(transformers, HEADS.get(kind, f"{kind}ForCausalLM"))(config).save_pretrained(folder)
    write_tokenizer(folder, ["a small corpus is enough for a tokenizer of bytes and a few words " * 3])
    return folder


def prompts() -> dict[str, np.ndarray]:
    """Three rows of different lengths, longer than the small sliding windows."""
    rng = np.random.default_rng(3)
    return decoders.left_padded([{"input_ids": rng.integers(2, 260, (1, 99))}], (23, 9, 2))


def build_of(model: Model, backend: str, precision: str, cache: Cache) -> tuple[Build, Workload]:
    from optibench.host import describe

    request = Request(model=model.path, lengths=(16,), new_tokens=8)
    workload = plan_of(request, model, targets.load(), describe()).workload
    rows = rows_of(model, workload)
    entry = cache.get_or_make(
        "inputs", recipe(model, workload, rows.sources), lambda at: make(at, model, workload, rows)
    )
    build = Build(
        model=model, target=targets.load()["cpu"], backend=backend, precision=precision,
        inputs=str(cache.path(entry.key)), calibration_sha256=rows.sources.calibration.sha256,
    )  # fmt: skip
    return build, workload


def job_of(folder: Path, backend: str, precision: str, cache: Cache) -> Job:
    build, workload = build_of(models.resolve(str(folder)), backend, precision, cache)
    artifact = plugins.load("backend", backend).prepare(build, cache)
    case = Case(target="cpu", backend=backend, precision=precision)
    return Job(
        case=case, model=build.model, target=build.target, round=1, artifact=artifact, inputs=build.inputs,
        shapes=workload.shapes, threads=2,
    )  # fmt: skip


def by_transformers(folder: Path, new_tokens: int) -> list[list[int]]:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    model.generation_config.eos_token_id = None
    inputs = {name: torch.as_tensor(array) for name, array in prompts().items()}
    made = model.generate(**inputs, do_sample=False, max_new_tokens=new_tokens)
    rows: list[list[int]] = made[:, inputs["input_ids"].shape[1] :].tolist()
    return rows


@pytest.mark.parametrize(("name", "backend"), CHOSEN, ids=["-".join(pair) for pair in CHOSEN])
def test_greedy_tokens_are_those_that_transformers_generates(
    name: str, backend: str, tmp_path: Path, cache_root: Path
) -> None:
    folder, cache = write(tmp_path / "model", name), Cache(cache_root)
    right = by_transformers(folder, 32)
    assert len({tuple(row) for row in right}) == 3
    for module in (backend, "pytorch"):
        job = job_of(folder, module, "fp32", cache)
        with plugins.load("backend", module).session(job.artifact, job) as session:
            made = [row.tolist() for row in generation.generate(session, session.feed(prompts()), 32)]
            assert made == right, module
            again = generation.generate(session, session.feed(prompts()), 3)
            assert [row.tolist() for row in again] == [row[:3] for row in right], "the cache was not forgotten"
            assert session.cache_bytes() > 0
            assert session.executed(session.feed(prompts())).precision == "fp32"


def test_onnx_runtimes_own_attention_is_kept_where_it_answers_as_pytorch_does_and_else_any_runtimes(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "model", "Llama")

    def operators(run: Any, cache: Cache) -> list[str]:
        build, _ = build_of(models.resolve(str(folder)), "onnxruntime", "fp32", cache)
        made = cache.path(exported(build, "onnx", cache, run).key)
        assert sorted(file.name for file in made.glob("*.onnx*")) == ["model.onnx", "model.onnx.data"]
        return [node.op_type for node in onnx.load(made / "model.onnx", load_external_data=False).graph.node]

    def wrong(path: Path, batch: Any) -> Any:
        found = onnxruntime.run_decoder(path, batch)
        domains = {one.domain for one in onnx.load(path, load_external_data=False).opset_import}
        return [answer + 1 for answer in found] if "com.microsoft" in domains else found

    assert operators(onnxruntime.run_decoder, Cache(tmp_path / "right")).count("GroupQueryAttention") == 2
    plain = operators(wrong, Cache(tmp_path / "wrong"))
    assert (plain.count("GroupQueryAttention"), plain.count("Softmax")) == (0, 2)


def test_keys_are_written_in_place_where_there_is_room_and_a_cache_as_long_as_its_tokens_is_taken_too(
    tmp_path: Path, cache_root: Path
) -> None:
    folder, cache = write(tmp_path / "model", "Llama"), Cache(cache_root)
    job, tokens = job_of(folder, "onnxruntime", "fp32", cache), np.array([3, 4, 5])
    with plugins.load("backend", "onnxruntime").session(job.artifact, job) as opened:
        session: Any = opened
        fed = session.feed(prompts())
        session.start(fed)
        assert len(session.pasts) == 4
        assert session.in_place == set(session.pasts)
        places = [value.data_ptr() for value in session.kept]
        found = [session.step(tokens) for _ in range(session.room - 23)]
        assert [value.data_ptr() for value in session.kept] == places, "the cache was copied"
        found.append(session.step(tokens))
        assert not {value.data_ptr() for value in session.kept} & {*places}, "there was no room for it"

        names, place = ["logits", *(name.replace("input.", "output.") for name in session.pasts)], Place(fed)
        arrays, caches = fed.inputs(), [np.zeros((3, 2, 0, 16), np.float32)] * 4
        for right in [None, *found]:
            given = {name: array for name, array in arrays.items() if name in session.inputs}
            logits, *caches = session.session.run(names, {**given, **dict(zip(session.pasts, caches, strict=True))})
            assert right is None or np.abs(logits[:, -1] - right).max() < 1e-4
            arrays = place.following(tokens)
        assert session.cache_bytes() == sum(array.nbytes for array in caches)


def test_an_export_that_answers_wrongly_after_a_cache_is_refused(tmp_path: Path, cache_root: Path) -> None:
    folder, cache = write(tmp_path / "model", "GPT-2"), Cache(cache_root)
    file = Path(job_of(folder, "openvino", "fp32", cache).artifact.path)
    build, _ = build_of(models.resolve(str(folder)), "openvino", "fp32", cache)

    def forgetful(path: Path, batch: Any) -> Any:
        return run_decoder(path, {**batch, decoders.FOLLOWING: batch[decoders.FOLLOWING][:, ::-1]})

    check_second_shape(build, "openvino", file.parent, run_decoder)
    with pytest.raises(CaseFailed, match="other results than PyTorch"):
        check_second_shape(build, "openvino", file.parent, forgetful)


def test_calibrated_activations_are_no_build_of_a_decoder_and_the_reason_is_told(
    tmp_path: Path, cache_root: Path
) -> None:
    folder = write(tmp_path / "model", "GPT-2")
    build, _ = build_of(models.resolve(str(folder)), "onnxruntime", "int8", Cache(cache_root))
    with pytest.raises(
        Unsupported, match="onnxruntime generates text in fp32, int8-dynamic, int4-weights, int8-weights"
    ):
        plugins.load("backend", "onnxruntime").prepare(build, Cache(cache_root))


@pytest.mark.parametrize(
    ("precision", "how", "executed"),
    [
        ("int8-dynamic", (8, 32, 4), "int8"),
        ("int8-weights", (8, 128, 1), "weights"),
        ("int4-weights", (4, 32, 1), "weights"),
    ],
)
def test_onnx_runtime_rounds_activations_where_the_label_says_so_alone_and_executed_tells(
    precision: str, how: tuple[int, ...], executed: str, tmp_path: Path, cache_root: Path
) -> None:
    folder, cache = write(tmp_path / "model", "Llama"), Cache(cache_root)
    job = job_of(folder, "onnxruntime", precision, cache)
    nodes = onnx.load(job.artifact.path).graph.node
    settings = [{one.name: one.i for one in node.attribute} for node in nodes if node.op_type == "MatMulNBits"]
    assert {tuple(one[name] for name in ("bits", "block_size", "accuracy_level")) for one in settings} == {how}
    assert not [node for node in nodes if node.op_type == "MatMul"]
    with plugins.load("backend", "onnxruntime").session(job.artifact, job) as session:
        assert session.executed(session.feed(prompts())).precision == executed
        made = session.start(session.feed(prompts()))
    exact = job_of(folder, "onnxruntime", "fp32", cache)
    with plugins.load("backend", "onnxruntime").session(exact.artifact, exact) as session:
        right = session.start(session.feed(prompts()))
    assert np.corrcoef(made.ravel(), right.ravel())[0, 1] > (0.999 if "int8" in precision else 0.9)
