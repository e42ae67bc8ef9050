"""Text generation as a user runs it: a small Llama of real English, every default build, one report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optibench import store
from tests.conftest import Optibench
from tests.fixtures import decoder

pytestmark = pytest.mark.slow
FakeTarget = Callable[..., Path]
SMALL = ("--prompt-length", "24", "--new-tokens", "8", "--quick", "--rounds", "2", "--budget", "15s")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder.write(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="module")
def run(optibench: Optibench, llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """comparison.json of a default run, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = optibench("compare", llama, "--targets", "cpu", *SMALL, "--json", "--out", folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def rows(comparison: dict[str, Any], phase: str = "decode") -> dict[str, dict[str, Any]]:
    return {case["case"]: case for case in comparison["cases"] if case["phase"] == phase}


def test_every_default_build_generates(run: tuple[dict[str, Any], Path]) -> None:
    found = rows(run[0])
    assert set(found) >= {
        *("cpu/pytorch/fp32", "cpu/onnxruntime/fp32", "cpu/onnxruntime/int8-dynamic", "cpu/onnxruntime/int4-weights"),
        *("cpu/openvino/fp32", "cpu/openvino/int8-weights", "cpu/openvino/int4-weights"),
    }
    assert {case["status"] for case in found.values()} <= {"ok", "skipped"}  # bf16 where the processor has none
    for case in found.values():
        if case["status"] == "ok":
            assert case["cache_bytes"] > 0
            if case["generation"]:  # on a busy machine others may have disturbed each one of a few short blocks
                assert case["generation"]["tokens_per_second"] > 0
            else:
                assert not case["bursts"]["kept"] or not rows(run[0], "prefill")[case["case"]]["bursts"]["kept"]


def test_fp32_makes_the_references_tokens_or_the_report_says_where_they_part(run: tuple[dict[str, Any], Path]) -> None:
    comparison, folder = run
    report = (folder / "report.md").read_text()
    for name in ("cpu/onnxruntime/fp32", "cpu/openvino/fp32"):
        found = rows(comparison)[name]["agreement"]
        assert (found["prompts"], found["tokens"]) == (20, 160)
        if found["parts"]:
            assert f"{name} parts from the reference's text" in report
        else:
            assert found["equal"] == 160
            assert "Greedy decoding makes the reference's tokens, each one, of all 20 prompts" in report


def test_the_model_foretells_english_and_fewer_bits_foretell_it_worse(run: tuple[dict[str, Any], Path]) -> None:
    found = rows(run[0])

    def score(case: str, metric: str) -> dict[str, Any]:
        scores: list[dict[str, Any]] = found[case]["scores"]
        return next(one for one in scores if one["metric"] == metric)

    assert score("cpu/pytorch/fp32", "perplexity")["value"] < 300  # one that knows nothing: 1024
    assert score("cpu/openvino/fp32", "perplexity")["change"]["mid"] == pytest.approx(0, abs=1e-2)
    int8, int4 = (score(f"cpu/openvino/{name}-weights", "perplexity")["change"]["mid"] for name in ("int8", "int4"))
    assert abs(int8) < abs(int4)
    assert score("cpu/pytorch/fp32", "bits_per_byte")["value"] < 5


def test_the_record_holds_the_tokens_themselves(run: tuple[dict[str, Any], Path]) -> None:
    records, _ = store.open_run(run[1]).records()
    made = {record.case.name: record.generated for record in records if record.generated}
    assert {len(tokens) for tokens in made["cpu/pytorch/fp32"]} == {8}
    assert len(made["cpu/pytorch/fp32"]) == 20


def test_several_models_stand_in_one_table(optibench: Optibench, llama: Path, tmp_path: Path) -> None:
    other = shutil.copytree(llama, tmp_path / "other-llama")
    asked = ("--precisions", "fp32", "--backends", "pytorch", *SMALL)
    done = optibench("compare", llama, other, "./nowhere", "--targets", "cpu", *asked, "--out", tmp_path / "runs")
    assert done.returncode == 2
    assert "Error: ./nowhere: There is no model at ./nowhere" in done.stderr
    table = [line.split()[:2] for line in done.stdout.splitlines() if "cpu/pytorch/fp32 " in line]
    assert table[:2] == [["tiny-llama", "cpu/pytorch/fp32"], ["other-llama", "cpu/pytorch/fp32"]]
    assert "bits_per_byte" in done.stdout
    assert (tmp_path / "runs" / "1-tiny-llama" / "comparison.json").is_file()


def test_weights_that_are_not_numbers_are_a_failed_case_that_names_the_output(
    optibench: Optibench, llama: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(llama, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    asked = ("--precisions", "fp32", "--backends", "pytorch", *SMALL, "--out", tmp_path / "run")
    done = optibench("compare", broken, "--targets", "cpu", *asked)
    assert done.returncode == 3
    assert "the output 'logits' holds NaN" in done.stdout + done.stderr


def test_a_model_without_a_tokenizer_says_what_to_put_beside_it(
    optibench: Optibench, llama: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(llama, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*")))
    done = optibench("compare", bare, "--targets", "cpu", *SMALL, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "The tokenizer of bare cannot be loaded" in done.stderr
    assert "Put tokenizer.json" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prompt_beyond_the_context_is_told_before_anything_is_built(optibench: Optibench, llama: Path) -> None:
    done = optibench("compare", llama, "--targets", "cpu", "--prompt-length", "500", "--new-tokens", "64")
    assert done.returncode == 2
    assert "a prompt of 500 tokens with 64 new ones takes 564" in " ".join(done.stderr.split())
