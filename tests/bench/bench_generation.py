"""Time per token as optibench measures it, beside a bare loop over the same runtime, in turns: the ratio of medians,
which is to lie within 2% of 1. Figures alone, no verdict; on a decoder of 30 million parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import generation, measure, plugins
from optibench.cache import Cache
from optibench.values import Shape
from tests import test_decoders
from tests.fixtures.decoder import write_tokenizer

PROMPT, NEW, BLOCKS = 64, 32, 15
DECODE = Shape(batch=1, length=PROMPT, phase="decode", new_tokens=NEW)
LARGER = {
    **test_decoders.LLAMA, "vocab_size": 4096, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64, "initializer_range": 0.05,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("models") / "llama-30m"
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LARGER)).save_pretrained(folder)
    write_tokenizer(folder, ["a small corpus is enough for a tokenizer of bytes and a few words " * 3])
    return folder


def bare_onnxruntime(path: str, ids: np.ndarray, threads: int) -> Callable[[], list[int]]:
    """Nanoseconds of each token of one generation, by the runtime's own API alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    past = [i for i in session.get_inputs() if i.name.startswith("input.")]
    outputs = ["logits", *(i.name.replace("input.", "output.") for i in past)]

    def run(tokens: np.ndarray, seen: int, kept: list[Any]) -> tuple[int, list[Any]]:
        end = seen + tokens.shape[1]
        feed = {
            "input_ids": value(tokens), "attention_mask": value(np.ones((1, end), np.int64)),
            "position_ids": value(np.arange(seen, end)[None]), "logits_to_keep": value(np.array([tokens.shape[1] - 1])),
        }  # fmt: skip
        feed.update(zip((i.name for i in past), kept, strict=True))
        logits, *kept = session.run_with_ort_values(outputs, feed)
        return int(logits.numpy()[0, -1].argmax()), kept

    def loop() -> list[int]:
        empty = [value(np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32)) for i in past]
        token, kept = run(ids, 0, empty)
        times = []
        for seen in range(PROMPT, PROMPT + NEW):
            start = time.perf_counter_ns()
            token, kept = run(np.array([[token]]), seen, kept)
            times.append(time.perf_counter_ns() - start)
        return times

    return loop


def bare_openvino(path: str, ids: np.ndarray, threads: int) -> Callable[[], list[int]]:
    """The same."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }  # fmt: skip
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()

    def run(tokens: np.ndarray, seen: int) -> int:
        end = seen + tokens.shape[1]
        feed = {
            "input_ids": tokens, "attention_mask": np.ones((1, end), np.int64), "beam_idx": np.zeros(1, np.int32),
            "position_ids": np.arange(seen, end)[None], "logits_to_keep": np.array([tokens.shape[1] - 1]),
        }  # fmt: skip
        request.start_async(feed, share_inputs=True)
        request.wait()
        return int(request.get_tensor("logits").data[0, -1].argmax())

    def loop() -> list[int]:
        request.reset_state()
        token = run(ids, 0)
        times = []
        for seen in range(PROMPT, PROMPT + NEW):
            start = time.perf_counter_ns()
            token = run(np.array([[token]]), seen)
            times.append(time.perf_counter_ns() - start)
        return times

    return loop


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_time_per_token_beside_a_bare_loop(benchmark: Any, model: Path, tmp_path: Path, backend: str) -> None:
    job = test_decoders.job_of(model, backend, "fp32", Cache(tmp_path / "cache"))
    ids = np.random.default_rng(0).integers(2, 260, (1, PROMPT))
    bare_of = {"onnxruntime": bare_onnxruntime, "openvino": bare_openvino}[backend]
    ratios: list[float] = []
    with plugins.load("backend", backend).session(job.artifact, job) as session:
        meter = measure.Meter()
        timed = generation.timed(session, session.feed({"input_ids": ids}), DECODE)
        bare = bare_of(job.artifact.path, ids, job.threads)

        def mine() -> float:
            return float(np.median(meter.burst(timed, 0, 0.0).wall_ns))

        def theirs() -> float:
            times = bare()
            meter.until_quiet()
            return float(np.median(times))

        def block() -> None:
            if len(ratios) % 2:
                first = mine()
                ratios.append(first / theirs())
            else:
                first = theirs()
                ratios.append(mine() / first)

        benchmark.pedantic(block, rounds=BLOCKS, warmup_rounds=2)
    low, mid, high = np.exp(np.quantile(np.log(ratios[2:]), [0.25, 0.5, 0.75]))
    benchmark.extra_info["over_a_bare_loop"] = round(float(mid), 4)
    benchmark.extra_info["its_quartiles"] = f"{low:.4f} to {high:.4f}"
