"""`optibench export` of models that generate: the folder's own README lines write what transformers' `generate` does.

OPTIBENCH_ALL_DECODERS=1 (tox -e generation) tries every architecture on both runtimes (minutes); else a few.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optibench import generation_lines, package
from tests import test_decoders
from tests.conftest import Optibench, write_tokenizer
from tests.tasks.test_generation_rules import SIZES, TOKENS, WORD_COUNT, write_model

pytestmark = pytest.mark.slow
TEMPLATE = "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}bot:{% endif %}"
QUESTION = "Which build should I ship?"
BART = {**SIZES, **TOKENS, "forced_eos_token_id": None}
T5 = {
    **TOKENS, "vocab_size": WORD_COUNT, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0,
}  # fmt: skip


def export(optibench: Optibench, model: Path, out: Path, backend: str, *more: str) -> Path:
    done = optibench("export", model, "--backend", backend, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return out


def written_by_readme(folder: Path) -> str:
    """What the README's lines print, in a process of their own; they name no optibench."""
    (lines,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "optibench" not in lines
    ran = subprocess.run([sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.removesuffix("\n")


def written_by_transformers(folder: Path, **inputs: Any) -> str:
    import torch
    import transformers

    torch.manual_seed(0)
    config = json.loads((folder / "config.json").read_text())
    model = getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    begun = 0
    if not inputs:
        chat = [{"role": "user", "content": QUESTION}]
        found = (
            tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
            if tokenizer.chat_template
            else tokenizer(QUESTION, return_tensors="pt")
        )
        inputs = {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"]}
    if not config.get("is_encoder_decoder"):
        begun = inputs["input_ids"].shape[1]
        inputs["max_new_tokens"] = 64
    made = model.generate(**inputs, num_beams=1, do_sample=False)[0, begun:]
    return str(tokenizer.decode(made, skip_special_tokens=True))


@pytest.mark.parametrize(("name", "backend"), test_decoders.CHOSEN, ids=["-".join(p) for p in test_decoders.CHOSEN])
def test_a_decoders_lines_write_what_transformers_writes(
    optibench: Optibench, tmp_path: Path, name: str, backend: str
) -> None:
    model = test_decoders.write(tmp_path / "model", name)
    right = written_by_transformers(model)
    assert len(right) > 20
    assert written_by_readme(export(optibench, model, tmp_path / "out", backend)) == right


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"] if test_decoders.ALL else ["openvino"])
@pytest.mark.parametrize("kind", ["Bart", "T5"] if test_decoders.ALL else ["Bart"])
def test_a_rewriters_lines_write_what_transformers_writes(
    optibench: Optibench, tmp_path: Path, kind: str, backend: str
) -> None:
    model = tmp_path / "model"
    rules = {"min_length": 6, "suppress_tokens": [8, 9], "bad_words_ids": [[7]], "no_repeat_ngram_size": 0}
    write_model(model, f"{kind}ForConditionalGeneration", BART if kind == "Bart" else T5, rules)
    write_tokenizer(model)
    out = export(optibench, model, tmp_path / "out", backend, "--task", "summarization")
    suffix = {"onnxruntime": "onnx", "openvino": "xml"}[backend]
    assert f"The graphs are `encode.{suffix}` and `decode.{suffix}`" in (out / "README.md").read_text()
    right = written_by_transformers(model)
    assert len(right.split()) > 4
    assert written_by_readme(out) == right


def test_a_listeners_lines_write_what_transformers_writes(optibench: Optibench, tmp_path: Path) -> None:
    import torch
    import transformers

    from tests.fixtures import tones

    model, _ = tones.write(tmp_path)
    out = export(optibench, model, tmp_path / "out", "onnxruntime")
    listener = transformers.AutoFeatureExtractor.from_pretrained(model)
    silence = np.zeros(listener.sampling_rate, np.float32)
    heard = listener(silence, sampling_rate=listener.sampling_rate, return_tensors="np")
    right = written_by_transformers(model, input_features=torch.as_tensor(heard["input_features"]))
    assert written_by_readme(out) == right


def test_a_chat_is_written_by_its_template_as_the_session_that_is_measured_writes_it(
    optibench: Optibench, tmp_path: Path
) -> None:
    model = test_decoders.write(tmp_path / "model", "Llama")
    (model / "chat_template.jinja").write_text(TEMPLATE)
    out = export(optibench, model, tmp_path / "out", "onnxruntime", "--precision", "int8-weights")
    assert {"chat_template.jinja", "generation_config.json", "config.json", "tokenizer.json", "model.onnx"} <= {
        path.name for path in out.iterdir()
    }
    assert "jinja2" in (out / "README.md").read_text()
    assert written_by_readme(out) == written_by_session(out)


def written_by_session(folder: Path) -> str:
    """The text that optibench's own session makes of the chat with the exported file."""
    from transformers import AutoTokenizer

    from optibench import generation
    from optibench.onnx_decoder import ONNXDecoder

    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": QUESTION}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="np")
    session = ONNXDecoder(Path(package.opened(folder).artifact.path), threads=2)
    (made,) = generation.generate(session, session.feed(inputs), generation_lines.NEW_TOKENS, stop=(1,))
    return str(tokenizer.decode(made, skip_special_tokens=True))
