"""What of TensorRT needs no TensorRT: profiles, the cache's keys, the inspector's JSON, reasons."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pytest

from optibench import quantize, targets, tools
from optibench.arrays import save
from optibench.backends import tensorrt, tensorrt_rtx
from optibench.cache import Cache
from optibench.errors import CaseFailed, Unsupported
from optibench.nvidia import bindings, engine
from optibench.nvidia import card as cards
from optibench.nvidia.bindings import TENSORRT
from optibench.nvidia.card import Card
from optibench.nvidia.device import bytes_wanted
from optibench.nvidia.engine import Range, range_for
from optibench.nvidia.inspector import executed_from_json
from optibench.pipeline import mislabelled
from optibench.values import Artifact, Build, Model, ModelRef

T4 = Card(name="Tesla T4", compute_capability="7.5", driver="590.1", cuda="13.1")
L4 = Card(name="NVIDIA L4", compute_capability="8.9", driver="590.1", cuda="13.1")


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    def ids(*shape: int) -> dict[str, np.ndarray]:
        return {"input_ids": np.ones(shape, np.int64), "attention_mask": np.ones(shape, np.int64)}

    save(tmp_path / "shape-1x128.npz", [ids(1, 128)])
    save(tmp_path / "shape-8x32.npz", [ids(8, 32)])
    save(tmp_path / "evaluation.npz", [ids(16, 7), ids(5, 40)])
    return tmp_path


@pytest.fixture
def build(inputs: Path) -> Build:
    ref = ModelRef(id="m", revision="r", task="feature-extraction", source="local", weights_sha256="0" * 64)
    return Build(
        model=Model(ref=ref, path=str(inputs)),
        target=targets.load()["cuda"],
        backend="tensorrt",
        precision="fp16",
        inputs=str(inputs),
        calibration_sha256="",
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A machine whose card can be changed, with an engine builder that only says what it was asked."""
    state: dict[str, Any] = {"card": L4, "built": 0}
    graph = Artifact(format="onnx", path=str(tmp_path / "model.onnx"), sha256="1" * 64, bytes=1)

    def built(*asked: Any, **settings: Any) -> bytes:
        state["built"] += 1
        state["timing"] = settings["timing_cache"]
        return b"engine"

    monkeypatch.setattr(cards, "card", lambda device="": state["card"])
    monkeypatch.setattr(quantize, "artifact", lambda *asked: graph)
    monkeypatch.setattr(tensorrt, "build_engine", built)
    return state


def test_each_timed_shape_has_a_profile_and_all_take_what_the_run_feeds(inputs: Path) -> None:
    first, second = tensorrt.profiles_of(inputs)
    assert first["input_ids"] == Range(least=(1, 1), best=(1, 128), most=(16, 128))
    assert second["attention_mask"] == Range(least=(1, 1), best=(8, 32), most=(16, 128))


def test_pictures_keep_their_size_and_take_any_number_of_rows(tmp_path: Path) -> None:
    save(tmp_path / "shape-4.npz", [{"pixel_values": np.ones((4, 3, 8, 8), np.float32)}])
    save(tmp_path / "evaluation.npz", [{"pixel_values": np.ones((2, 3, 8, 8), np.float32)}])
    (profile,) = tensorrt.profiles_of(tmp_path)
    assert profile["pixel_values"] == Range(least=(1, 3, 8, 8), best=(4, 3, 8, 8), most=(4, 3, 8, 8))


def test_an_input_that_the_data_lack_has_the_sizes_of_one_that_is_like_it() -> None:
    profile = {"input_ids": Range(least=(1, 1), best=(1, 8), most=(4, 8))}
    assert range_for("position_ids", (-1, -1), profile) == profile["input_ids"]
    with pytest.raises(CaseFailed, match="'cache' has 4 axes"):
        range_for("cache", (-1, 2, -1, 16), profile)


def test_an_engine_is_taken_from_the_cache_on_the_same_card(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    assert tensorrt.prepare(build, cache).sha256 == tensorrt.prepare(build, cache).sha256
    assert machine["built"] == 1


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (T4, "another card or driver"),
        (msgspec.structs.replace(L4, driver="600.2"), "another card or driver"),
    ],
)
def test_an_engine_of_another_card_or_driver_is_built_again_and_that_is_said(
    build: Build, machine: dict[str, Any], tmp_path: Path, changed: Card, words: str
) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)
    tensorrt.prepare(build, cache)
    assert said == []
    machine["card"] = changed
    tensorrt.prepare(build, cache)
    assert machine["built"] == 2
    assert any(words in text and "a new one is built" in text for text in said)


def test_an_engine_of_another_version_is_built_again_and_that_is_said(
    build: Build, machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optibench import host

    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)
    for version in ("10.16", "11.4"):
        monkeypatch.setattr(host, "package_versions", lambda names, v=version: {"tensorrt": v})
        tensorrt.prepare(build, cache)
    assert machine["built"] == 2
    assert any("another version of TensorRT" in text for text in said)


def test_a_corrupted_engine_is_built_again_and_that_is_said(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)
    Path(tensorrt.prepare(build, cache).path).write_bytes(b"engin")
    assert Path(tensorrt.prepare(build, cache).path).read_bytes() == b"engine"
    assert any("damaged: model.engine" in text and "built again" in text for text in said)


def test_kernels_timings_are_kept_in_the_cache_for_all_engines_of_a_card_and_version(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    kept = []
    for card, precision in ((L4, "fp32"), (L4, "fp16"), (T4, "fp32")):
        machine["card"] = card
        tensorrt.prepare(msgspec.structs.replace(build, precision=precision), cache)
        kept.append(machine["timing"])
    assert kept[0] == kept[1] != kept[2]
    assert kept[0].parent == cache.root / "timing"


def test_an_engine_ahead_of_time_does_not_depend_on_the_card_that_is_here(
    build: Build, machine: dict[str, Any]
) -> None:
    found = []
    for card in (T4, L4):
        machine["card"] = card
        found.append(tensorrt_rtx.recipe(build))
    assert found[0] == found[1]


def test_a_precision_that_the_card_lacks_is_skipped_with_the_reason(build: Build, machine: dict[str, Any]) -> None:
    machine["card"] = T4
    with pytest.raises(Unsupported, match=r"compute capability 7\.5 have no bf16 \(from 8\.0 on\)"):
        tensorrt.prepare(msgspec.structs.replace(build, precision="bf16"), Cache(Path("unused")))


def test_an_engine_for_cards_of_many_ages_holds_no_precision_that_the_oldest_lack(build: Build) -> None:
    fp8 = msgspec.structs.replace(build, precision="fp8")
    with pytest.raises(Unsupported, match=r"8\.6 have no fp8 \(from 8\.9 on\), and the target names no others"):
        tensorrt_rtx.recipe(fp8)
    assert tensorrt_rtx.recipe(msgspec.structs.replace(fp8, target=targets.load()["cuda-ada"]))


def test_engines_of_another_model_are_left_alone_and_of_another_revision_are_told(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)

    def of(model: str, revision: str) -> Build:
        ref = msgspec.structs.replace(build.model.ref, id=model, revision=revision, weights_sha256=revision * 64)
        return msgspec.structs.replace(build, model=msgspec.structs.replace(build.model, ref=ref))

    tensorrt.prepare(of("m", "1"), cache)
    tensorrt.prepare(of("another", "2"), cache)
    assert (machine["built"], said) == (2, [])
    tensorrt.prepare(of("m", "3"), cache)
    assert machine["built"] == 3
    (text,) = said
    assert text.startswith(
        "An engine in the cache was made for another revision or export of the model than this run's"
    )


def test_who_places_the_qdq_decides_the_engine_and_its_version_is_in_the_key(
    build: Build, machine: dict[str, Any]
) -> None:
    def by(tool: str, precision: str) -> dict[str, Any]:
        target = msgspec.structs.replace(build.target, options={"tensorrt": {"qdq": tool}})
        found = tensorrt.recipe(msgspec.structs.replace(build, precision=precision, target=target))
        assert found
        return found["parent"]

    assert by("nncf", "int8") != by("modelopt", "int8")
    assert by("modelopt", "int8")["tools"]["nvidia-modelopt"] == tools.MODELOPT.versions["nvidia-modelopt"]
    assert by("nncf", "fp16") == by("modelopt", "fp16")  # nothing is quantized


LOGGED = {
    "[defaultAllocator.cpp::allocate::58] Error Code 1: Cuda Runtime (out of memory)": 0,
    "[virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)": (
        8589934592
    ),
    "Requested amount of GPU memory (12884901888 bytes) could not be allocated.": 12884901888,
    "Skipping tactic 0x7 due to insufficient memory on requested size of 4096000 detected for tactic.": 4096000,
    "Error Code 4: Internal Error (Network must have at least one output)": None,
}


@pytest.mark.parametrize(("text", "asked"), LOGGED.items())
def test_how_much_memory_was_asked_for_in_vain_is_read_off_tensorrts_log(text: str, asked: int | None) -> None:
    assert bytes_wanted([text]) == asked


def test_a_build_begins_with_the_timings_that_are_kept_and_keeps_those_it_ends_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    played = MagicMock(IProgressMonitor=object)
    builder = played.Builder.return_value
    config = builder.create_builder_config.return_value
    builder.create_network.return_value.num_inputs = 0
    builder.build_serialized_network.return_value = b"engine"
    config.get_timing_cache.return_value.serialize.side_effect = [b"first", b"second"]
    monkeypatch.setattr(engine, "bindings", lambda flavour: played)
    monkeypatch.setattr(engine, "logger", lambda flavour: SimpleNamespace(errors=[], warnings=[]))
    kept = tmp_path / "timing" / "a.cache"
    for _ in range(2):
        assert engine.build_engine(TENSORRT, Path("m.onnx"), [], engine.EngineOptions(), timing_cache=kept) == b"engine"
    assert [call.args for call in config.create_timing_cache.call_args_list] == [(b"",), (b"first",)]
    assert list(kept.parent.iterdir()) == [kept]
    assert kept.read_bytes() == b"second"


@pytest.fixture
def failing_builder(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A TensorRT whose builder gives nothing; what it logs is the test's to say."""
    played = MagicMock(IProgressMonitor=object)
    played.Builder.return_value.create_network.return_value.num_inputs = 0
    played.Builder.return_value.build_serialized_network.return_value = None
    errors: list[str] = []
    monkeypatch.setattr(engine, "bindings", lambda flavour: played)
    monkeypatch.setattr(engine, "logger", lambda flavour: SimpleNamespace(errors=errors, warnings=[]))
    monkeypatch.setattr(engine, "memory", lambda: (12_000_000, 16_000_000_000))
    return errors


@pytest.mark.parametrize(
    ("logged", "words"),
    [
        ("OutOfMemory (Requested size was 8589934592 bytes.)", "takes 8590 MB, and 12 of 16000 MB are free"),
        ("Cuda Runtime (out of memory)", "takes more than there is, and 12 of 16000 MB are free"),
    ],
)
def test_a_build_that_runs_out_of_device_memory_is_told_in_bytes_asked_and_free(
    failing_builder: list[str], logged: str, words: str
) -> None:
    failing_builder.append(logged)
    with pytest.raises(CaseFailed, match=f"out of device memory: building this graph {words}"):
        engine.build_engine(TENSORRT, Path("m.onnx"), [], engine.EngineOptions())


def test_a_build_that_fails_otherwise_is_told_in_tensorrts_words(failing_builder: list[str]) -> None:
    failing_builder.append("Error Code 10: Could not find any implementation for node odd")
    with pytest.raises(CaseFailed, match="cannot build this graph: Error Code 10: Could not find any"):
        engine.build_engine(TENSORRT, Path("m.onnx"), [], engine.EngineOptions())


def test_an_empty_module_is_told_apart_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(Unsupported, match="tensorrt is not installed: pip install"):
        bindings.bindings(TENSORRT)
    (tmp_path / "tensorrt").mkdir()  # as tensorrt-stubs leaves it
    (tmp_path / "tensorrt" / "__init__.pyi").touch()
    with pytest.raises(Unsupported, match="can be imported and is empty"):
        bindings.bindings(TENSORRT)
    (tmp_path / "tensorrt" / "__init__.py").touch()  # or with a module that holds nothing
    importlib.invalidate_caches()
    with pytest.raises(Unsupported, match="can be imported and is empty"):
        bindings.bindings(TENSORRT)


def layer(kind: str, datatype: str, tactic: str = "") -> dict[str, Any]:
    return {"Name": "l", "LayerType": kind, "TacticName": tactic, "Inputs": [{"Format/Datatype": datatype}]}


@pytest.mark.parametrize(
    ("layers", "precision", "label"),
    [
        ([layer("gemm", "Half")] * 3 + [layer("kgen", "Float")] * 9, "fp16", "fp16"),
        ([layer("CaskGemmConvolution", "Row major linear FP32", "sm80_xmma_gemm_f32f32_tf32f32_f32")], "tf32", "tf32"),
        ([layer("CaskConvolution", "Row major linear FP32", "sm80_f32f32_f32f32")], "fp32", "fp32"),
        ([layer("gemm", "Int8"), *[layer("gemm", "Half")] * 5], "int8", "int8"),
        ([layer("MatrixMultiply", "BFloat16")], "bf16", "bf16"),
        (["only", "names"], "none", "fp16"),
        ([], "none", "int8"),
    ],
)
def test_what_an_engine_executes_is_read_off_its_inspector(layers: list[Any], precision: str, label: str) -> None:
    executed = executed_from_json(json.dumps({"Layers": layers}), "TensorRT", {})
    assert executed.precision == precision
    assert mislabelled(label, executed.precision) is None


def test_an_int8_case_that_ran_in_half_precision_is_mislabelled() -> None:
    executed = executed_from_json(json.dumps({"Layers": [layer("gemm", "Half")]}), "TensorRT", {})
    assert mislabelled("int8", executed.precision) == "asked for int8, but fp16 was executed"


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}"])
def test_an_inspector_that_says_nothing_is_no_error(text: str) -> None:
    assert executed_from_json(text, "TensorRT", {}).precision == "none"
