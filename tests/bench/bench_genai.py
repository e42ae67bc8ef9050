"""Generation by optibench's own sessions beside the runtimes' own pipelines, whole generations in turns: OpenVINO's
LLMPipeline (openvino-genai) on the same stateful graph, and onnxruntime-genai's Generator on what its builder makes of
the same checkpoint. Figures alone, no verdict: ratios over 1 say that the pipeline is faster than our session.

    pip install --no-deps openvino-genai openvino-tokenizers onnxruntime-genai
    OPTIBENCH_GENAI=large python -m pytest tests/bench/bench_genai.py -o python_files=bench_*.py   # 90 million too
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import generation, plugins
from optibench.backends import openvino as backend_openvino
from optibench.cache import Cache
from optibench.values import Job
from tests import test_decoders
from tests.fixtures.decoder import write_tokenizer

PROMPT, NEW, THREADS = 128, 64, 2
TURNS = 5
COMMON = {"vocab_size": 4096, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.05}
LLAMA = {**COMMON, "max_position_embeddings": 1024, "head_dim": 64}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-7m": (
        "Llama",
        {
            **LLAMA, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
    ),
    "llama-90m": (
        "Llama",
        {
            **LLAMA, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
            "num_key_value_heads": 4,
        },
    ),
    "gpt2-90m": ("GPT2", {**COMMON, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}),
}  # fmt: skip
LARGE = os.environ.get("OPTIBENCH_GENAI") == "large"
CHOSEN = [*MODELS] if LARGE else ["llama-7m"]
PRECISIONS = ["fp32", "int8-weights", "int4-weights"]
Generation = tuple[float, float, list[list[int]]]
"""Seconds to the first token, to each further one in the mean, and each row's tokens."""
Generate = Callable[[np.ndarray], Generation]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("OPTIBENCH_GENAI_FOLDER")
    return Path(kept) if kept else tmp_path_factory.mktemp("genai")


def folder_of(root: Path, name: str) -> Path:
    import torch
    import transformers

    folder = root / "models" / name
    if not folder.exists():
        kind, settings = MODELS[name]
        torch.manual_seed(0)
        config = getattr(transformers, f"{kind}Config")(**settings)
        getattr(transformers, test_decoders.HEADS.get(kind, f"{kind}ForCausalLM"))(config).save_pretrained(folder)
        write_tokenizer(folder, ["a small corpus is enough for a tokenizer of bytes and a few words " * 3])
    return folder


open_sessions = ExitStack()


def by_session(job: Job) -> Generate:
    """Our own, as optibench compare runs it: its two calls, and the choice of each token in them."""
    session: Any = open_sessions.enter_context(plugins.load("backend", job.case.backend).session(job.artifact, job))

    def run(ids: np.ndarray) -> Generation:
        inputs = session.feed({"input_ids": ids})
        begun = time.perf_counter()
        made = [generation.greedy(session.start(inputs))]
        first = time.perf_counter()
        while len(made) < NEW:
            made.append(generation.greedy(session.step(made[-1])))
        return (*times(begun, first), np.stack(made, axis=1).tolist())

    return run


def times(begun: float, first: float) -> tuple[float, float]:
    return first - begun, (time.perf_counter() - first) / (NEW - 1)


def served_by_openvino(file: Path, checkpoint: Path, folder: Path) -> Path:
    """The same graph as the pipeline takes it: which logits are wanted, and the place in the cache, are no inputs but
    computed in it (the last token's alone, as in our prefill)."""
    import openvino
    import openvino_tokenizers
    import transformers
    from openvino import opset13 as ops

    if (folder / "openvino_model.xml").exists():
        return folder
    model = openvino.Core().read_model(file)
    ports = {name: port.get_node() for port in model.inputs for name in port.get_names()}
    one = ops.constant(np.array([1], np.int64))
    size = ops.shape_of(ports["input_ids"], "i64")
    length = ops.gather(size, one, ops.constant(np.array(0, np.int64)))
    if "logits_to_keep" in ports:
        replace(model, ports["logits_to_keep"], ops.subtract(length, one))
    assert "cache_position" not in ports
    model.validate_nodes_and_infer_types()
    folder.mkdir(parents=True)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    for name, made in zip(
        ("tokenizer", "detokenizer"),
        openvino_tokenizers.convert_tokenizer(tokenizer, with_detokenizer=True),
        strict=True,
    ):
        openvino.save_model(made, folder / f"openvino_{name}.xml")
    for given in checkpoint.glob("*.json"):
        (folder / given.name).write_bytes(given.read_bytes())
    return folder


def replace(model: Any, parameter: Any, made: Any) -> None:
    for user in parameter.output(0).get_target_inputs():
        user.replace_source_output(made.output(0))
    model.remove_parameter(parameter)


def by_pipeline(folder: Path, precision: str, attention: str) -> Generate:
    """openvino-genai with the very settings of our session; the time to the first token is by its own clock."""
    import openvino
    import openvino_genai

    settings = {
        **backend_openvino.settings_for(precision), "KV_CACHE_PRECISION": "f32", "INFERENCE_NUM_THREADS": THREADS,
        "ATTENTION_BACKEND": attention,
    }  # fmt: skip
    pipe = openvino_genai.LLMPipeline(str(folder), "CPU", **settings)
    config = openvino_genai.GenerationConfig(max_new_tokens=NEW, do_sample=False, ignore_eos=True)
    config.apply_chat_template = False

    def run(ids: np.ndarray) -> Generation:
        given = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        begun = time.perf_counter()
        found = pipe.generate(given, config)
        first = begun + found.perf_metrics.get_ttft().mean / 1e3
        return (*times(begun, first), [list(row) for row in found.tokens])

    return run


def built_for_onnxruntime(checkpoint: Path, precision: str, folder: Path) -> Path:
    """By onnxruntime-genai's builder; weights as our recipes have them, computed in fp32."""
    if (folder / "genai_config.json").exists():
        return folder
    sizes = {"int8-weights": 128, "int4-weights": 32}
    options = (
        [] if precision == "fp32" else ["accuracy_level=1", "is_symmetric=false", f"block_size={sizes[precision]}"]
    )
    command = [
        *(sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(checkpoint), "-o", str(folder)),
        *("-p", precision.partition("-")[0], "-e", "cpu", "-c", str(folder.parent / "kept")),
        *(["--extra_options", *options] if options else []),
    ]
    subprocess.run(command, check=True, capture_output=True)
    file = folder / "genai_config.json"
    config = json.loads(file.read_text())
    config["model"]["decoder"]["session_options"].update(intra_op_num_threads=THREADS, log_severity_level=3)
    config["model"]["eos_token_id"] = COMMON["vocab_size"] - 1  # of no text, and hardly ever made
    file.write_text(json.dumps(config))
    return folder


def by_generator(folder: Path, rows: int) -> Generate:
    """onnxruntime-genai by our clock; making the generator (and its cache) is not counted."""
    import onnxruntime_genai

    model = onnxruntime_genai.Model(str(folder))

    def run(ids: np.ndarray) -> Generation:
        params = onnxruntime_genai.GeneratorParams(model)
        params.set_search_options(max_length=PROMPT + NEW, batch_size=rows, do_sample=False)
        generator = onnxruntime_genai.Generator(model, params)
        given = ids.astype(np.int32)
        begun = time.perf_counter()
        generator.append_tokens(given)
        made, first = [], 0.0
        while not generator.is_done():
            generator.generate_next_token()
            made.append(np.array(generator.get_next_tokens()))
            first = first or time.perf_counter()
        return (*times(begun, first), np.stack(made, axis=1).tolist())

    return run


class Side:
    """What generates, in a process of its own: threads of two runtimes in one are in each other's way."""

    generate: Generate

    def __init__(self, make: Callable[..., Generate], *args: Any) -> None:
        self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _opened, (make, args))

    def __call__(self, ids: np.ndarray) -> Generation:
        return self.pool.submit(_generated, ids).result()


def _opened(make: Callable[..., Generate], args: tuple[Any, ...]) -> None:
    Side.generate = staticmethod(make(*args))


def _generated(ids: np.ndarray) -> Generation:
    found = Side.generate(ids)
    time.sleep(0.05)  # until its threads no longer wait for work by spinning
    return found


def beside(ours: Generate, theirs: Generate, rows: int, turns: int) -> Iterator[tuple[Generation, Generation]]:
    """A generation of each, the first of the two in turns. The prompt is a new one each time: a pipeline that keeps
    what it has seen is not to find it again."""
    rng = np.random.default_rng(0)
    for turn in range(turns):
        ids = rng.integers(2, 260, (rows, PROMPT))
        if turn % 2:
            mine, other = ours(ids), theirs(ids)
        else:
            other = theirs(ids)
            mine = ours(ids)
        yield mine, other


def figures(pairs: list[tuple[Generation, Generation]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for place, name in enumerate(("ttft", "tpot")):
        ratios = [mine[place] / other[place] for mine, other in pairs]
        low, mid, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        found |= {
            f"{name}_ms": round(float(np.median([mine[place] for mine, _ in pairs])) * 1e3, 2),
            f"{name}_theirs_ms": round(float(np.median([other[place] for _, other in pairs])) * 1e3, 2),
            f"{name}_ratio": f"{mid:.3f} [{low:.3f}, {high:.3f}]",
        }
    rows = [row == other for mine, theirs in pairs for row, other in zip(mine[2], theirs[2], strict=True)]
    return {**found, "same_texts": f"{sum(rows)}/{len(rows)}"}


PIPELINES = ["openvino-SDPA", "openvino-PA", "onnxruntime"]


def skip_where_it_cannot(name: str, model: str) -> None:
    for module in ("onnxruntime_genai",) if name == "onnxruntime" else ("openvino_genai", "openvino_tokenizers"):
        pytest.importorskip(module)
    if name == "onnxruntime" and not model.startswith("llama"):
        pytest.skip("onnxruntime-genai's builder has no GPT-2")


def pipeline_of(name: str, job: Job, checkpoint: Path, root: Path, rows: int) -> Side:
    folder = root / name.partition("-")[0] / f"{checkpoint.name}-{job.case.precision}"
    if name == "onnxruntime":
        return Side(by_generator, built_for_onnxruntime(checkpoint, job.case.precision, folder), rows)
    served = served_by_openvino(Path(job.artifact.path), checkpoint, folder)
    return Side(by_pipeline, served, job.case.precision, name.partition("-")[2])


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", CHOSEN)
@pytest.mark.parametrize("name", PIPELINES)
def test_our_session_beside_the_runtimes_own_pipeline(
    benchmark: Any, root: Path, name: str, model: str, precision: str, rows: int
) -> None:
    skip_where_it_cannot(name, model)
    checkpoint, backend = folder_of(root, model), name.partition("-")[0]
    job = test_decoders.job_of(checkpoint, backend, precision, Cache(root / "cache"))
    ours, theirs = Side(by_session, job), pipeline_of(name, job, checkpoint, root, rows)
    both = beside(ours, theirs, rows, TURNS + 1)
    next(both)  # warms both
    pairs: list[tuple[Generation, Generation]] = []
    benchmark.pedantic(lambda: pairs.append(next(both)), rounds=TURNS)
    ours.pool.shutdown()
    theirs.pool.shutdown()
    benchmark.extra_info.update(figures(pairs))
