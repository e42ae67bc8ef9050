"""ONNX Runtime's GPU providers where there is no GPU: the session that is measured over the real CPU provider, options,
reasons in words, and what is a failed case."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper as h
from onnx import numpy_helper

from optibench import quantize, targets
from optibench.arrays import save
from optibench.backends import onnxruntime as backend
from optibench.backends import onnxruntime_tensorrt, onnxruntime_tensorrt_rtx
from optibench.cache import Cache
from optibench.errors import CaseFailed, Unsupported
from optibench.nvidia import card as cards
from optibench.nvidia import device, libraries, providers
from optibench.nvidia.bound import BoundSession
from optibench.nvidia.card import Card
from optibench.values import Artifact, Build, Model, ModelRef

PROCESSOR = msgspec.structs.replace(providers.CUDA, name=providers.CPU, graphs="session_graphs")
"""The CPU provider in the place of a GPU's: the same calls, really made."""
T4 = Card(name="Tesla T4", compute_capability="7.5", driver="590.1", cuda="13.1")
L4 = Card(name="NVIDIA L4", compute_capability="8.9", driver="590.1", cuda="13.1")
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """y = x @ w, for any number of rows of 4."""
    x, y = (h.make_tensor_value_info(name, FLOAT, ["rows", 4]) for name in ("x", "y"))
    weight = numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(4, 4), "w")
    nodes = [h.make_node("MatMul", ["x", "w"], ["product"]), h.make_node("Relu", ["product"], ["y"])]
    path = tmp_path / "model.onnx"
    onnx.save(h.make_model(h.make_graph(nodes, "g", [x], [y], [weight]), ir_version=9), path)
    return path


def rows(count: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(count).standard_normal((count, 4)).astype(np.float32)}


def session_of(graph: Path, **options: str) -> BoundSession:
    return BoundSession(PROCESSOR, graph, 1, {}, options, device="cpu")


def plain(graph: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return backend.run_file(graph, inputs)[0]


# The session that is measured


def test_bound_sessions_answer_as_plain_ones_whatever_order_shapes_come_in(graph: Path) -> None:
    session = session_of(graph)
    feeds = [session.feed(rows(count)) for count in (1, 5, 3)]
    for _ in range(3):
        for count, feed in zip((1, 5, 3), feeds, strict=True):
            answer = session.arrays(session.call(feed))["y"]
            np.testing.assert_allclose(answer, plain(graph, rows(count)), rtol=1e-6)


def test_outputs_keep_their_place_from_the_second_call_on(graph: Path) -> None:
    session = session_of(graph, session_graphs="0")
    feed = session.feed(rows(2))
    places = [session.call(feed).binding.get_outputs()[0].data_ptr() for _ in range(4)]
    assert len(set(places[1:])) == 1


def test_a_feed_that_is_called_again_has_a_session_of_its_own_for_its_graph(graph: Path) -> None:
    session = session_of(graph)
    timed, judged = session.feed(rows(2)), session.feed(rows(3))
    for _ in range(2):
        session.call(timed)
    session.call(judged)
    assert timed.session is not session.session
    assert judged.session is session.session
    assert session.executed(timed).detail["cuda_graph"] is True


def test_graphs_that_are_turned_off_are_off_and_that_is_told(graph: Path) -> None:
    session = session_of(graph, session_graphs="0")
    feed = session.feed(rows(2))
    for _ in range(3):
        session.call(feed)
    assert feed.session is session.session
    assert session.executed(feed).detail["cuda_graph"] == "turned off"


def test_a_graph_that_cannot_be_captured_is_called_as_before_and_why_is_told(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(graph)
    usual = session._opened

    def opened(graph: bool = False, profile: str = "") -> Any:
        if graph:
            raise CaseFailed("not all nodes have been partitioned to the provider")
        return usual(profile=profile)

    monkeypatch.setattr(session, "_opened", opened)
    feed = session.feed(rows(2))
    for _ in range(3):
        answer = session.arrays(session.call(feed))["y"]
    np.testing.assert_allclose(answer, plain(graph, rows(2)), rtol=1e-6)
    assert "not all nodes" in session.executed(feed).detail["cuda_graph"]


# What was executed


def test_nodes_are_counted_by_the_provider_that_got_them(graph: Path) -> None:
    session = session_of(graph)
    assert session.nodes == {providers.CPU: 2}
    executed = session.executed(session.call(session.feed(rows(2))))
    assert (executed.provider, executed.precision, executed.fallback_nodes) == (providers.CPU, "fp32", 0)


def test_nodes_on_the_cpu_are_marked_and_those_on_another_gpu_provider_are_only_told(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(graph)
    feed = session.call(session.feed(rows(2)))
    usual = providers.opened
    monkeypatch.setattr(providers, "opened", lambda provider, *asked: usual(PROCESSOR, *asked))
    session.provider = providers.TENSORRT
    session.nodes = {providers.TENSORRT.name: 40, providers.CUDA.name: 3, providers.CPU: 2}
    executed = session.executed(feed)
    assert (executed.provider, executed.fallback_nodes) == ("TensorrtExecutionProvider", 2)
    assert executed.detail["nodes_by_provider"]["CUDAExecutionProvider"] == 3


def test_fp32_kernels_count_as_tf32_where_the_provider_says_so(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(graph)
    feed = session.call(session.feed(rows(2)))
    monkeypatch.setattr(session.session, "get_provider_options", lambda: {providers.CPU: {"use_tf32": "1"}})
    executed = session.executed(feed)
    assert (executed.precision, executed.operations) == ("tf32", {"tf32": 1})


# Failed, never a slow GPU


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_that_is_not_on_the_gpu_at_all_is_a_failed_case(graph: Path) -> None:
    with pytest.raises(CaseFailed, match="CUDAExecutionProvider") as failed:
        BoundSession(providers.CUDA, graph, 1, {}, {})
    assert "cannot open" in str(failed.value) or "would run on the CPU in silence" in str(failed.value)


def test_a_session_with_no_node_on_the_provider_is_a_failed_case() -> None:
    with pytest.raises(CaseFailed, match=r"No node of this graph runs on CUDAExecutionProvider, all of it on CPUExec"):
        providers.must_be_on(providers.CUDA, [providers.CUDA.name, providers.CPU], {providers.CPU: 9})


def test_a_plugin_is_known_whatever_name_its_package_gives_it() -> None:
    for name in ("NvTensorRTRTXExecutionProvider", "nv_tensorrt_rtx"):
        providers.must_be_on(providers.RTX, [name, providers.CPU], {name: 3})
    with pytest.raises(CaseFailed):
        providers.must_be_on(providers.RTX, [providers.CPU], {providers.CPU: 3})


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("BFCArena: Failed to allocate memory for requested buffer of size 4294967296", "takes 4295 MB"),
        ("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaGraphInstantiate(...)", "takes more than there is"),
    ],
)
def test_memory_that_runs_out_is_told_in_bytes_asked_and_free(
    monkeypatch: pytest.MonkeyPatch, said: str, words: str
) -> None:
    monkeypatch.setattr(device, "memory", lambda: (12_000_000, 16_000_000_000))
    told = str(providers.told(RuntimeError(said)))
    assert told == f"out of device memory: a buffer of ONNX Runtime's {words}, and 12 of 16000 MB are free"


def test_another_error_is_told_in_onnxruntimes_words() -> None:
    assert str(providers.told(RuntimeError("no such kernel"))) == "RuntimeError: no such kernel"


# Whether it is there


def test_a_build_for_processors_is_told_with_what_to_install_in_its_place(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(providers, "library_of", lambda provider: tmp_path / "none.so")
    why = providers.absent(providers.CUDA, targets.load()["cuda"])
    assert why is not None
    assert "pip uninstall -y onnxruntime; pip install 'optibench[onnxruntime-gpu]'" in why


def test_a_plugin_that_is_not_installed_is_told_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "library_of", lambda provider: None)
    why = providers.absent(providers.RTX, targets.load()["cuda"])
    assert why is not None
    assert "pip install 'optibench[onnxruntime-tensorrt-rtx]'" in why


def test_every_provider_is_for_nvidia_gpus_alone() -> None:
    for module in (onnxruntime_tensorrt, onnxruntime_tensorrt_rtx):
        assert "runs on NVIDIA GPUs" in (module.probe(targets.load()["cpu"]) or "")


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["libcuda.so.1", "libcudnn.so.9"], "no NVIDIA driver is installed"),
        (["libcudnn.so.9"], "needs libcudnn.so.9, which no wheel and no system folder has: pip install"),
    ],
)
def test_libraries_that_are_missing_are_named_and_a_driver_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str], words: str
) -> None:
    (tmp_path / "library.so").touch()
    monkeypatch.setattr(providers, "library_of", lambda provider: tmp_path / "library.so")
    monkeypatch.setattr(libraries, "lacking", lambda library: missing)
    assert words in (providers.absent(providers.CUDA, targets.load()["cuda"]) or "")


def test_ldds_lines_say_which_libraries_are_where() -> None:
    text = (
        "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibcublas.so.13 => not found\n"
        "\tlibm.so.6 => /lib/x86_64/libm.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n"
    )
    assert libraries.needed_from_text(text) == {"libcublas.so.13": None, "libm.so.6": Path("/lib/x86_64/libm.so.6")}


def build_library(folder: Path, name: str, needs: Path | None = None) -> Path:
    other = ["-Wl,--no-as-needed", str(needs)] if needs else []
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
    source = f"int {name.split('.')[0]}(void) {{ return 1; }}"
    subprocess.run([*command, "-x", "c", "-", "-x", "none", *other], input=source, text=True, check=True)
    return folder / name


def test_libraries_in_wheels_are_found_and_loaded_before_what_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really: a library that needs another one, which lies where only a wheel would put it."""
    wheel = tmp_path / "site" / "nvidia" / "cublas" / "lib"
    wheel.mkdir(parents=True)
    other = build_library(wheel, "libone_of_a_wheel.so.1")
    library = build_library(tmp_path, "libtwo_needs_it.so", other)
    assert libraries.lacking(library) == ["libone_of_a_wheel.so.1"]
    assert "libone_of_a_wheel.so.1" in (libraries.why_not_loaded(library) or "")
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    assert libraries.lacking(library) == []
    libraries.preload(library)
    assert libraries.why_not_loaded(library) is None


# Options and artifacts


def test_a_targets_options_are_onnxruntimes_own_words() -> None:
    entries, options = providers.split_options(
        {"session.intra_op.allow_spinning": False, "enable_cuda_graph": False, "gpu_mem_limit": 1 << 30}
    )
    assert entries == {"session.intra_op.allow_spinning": "0"}
    assert options == {"enable_cuda_graph": "0", "gpu_mem_limit": "1073741824"}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    save(tmp_path / "shape-2.npz", [{"x": np.ones((2, 4), np.float32)}])
    save(tmp_path / "evaluation.npz", [{"x": np.ones((7, 4), np.float32)}])
    ref = ModelRef(id="m", revision="r", task="feature-extraction", source="local", weights_sha256="0" * 64)
    return Build(
        model=Model(ref=ref, path=str(tmp_path)),
        target=targets.load()["cuda"],
        backend="onnxruntime-tensorrt",
        precision="fp16",
        inputs=str(tmp_path),
        calibration_sha256="",
    )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, graph: Path) -> dict[str, Any]:
    """A machine whose card can be changed, and where opening a session with engines only says what it was asked."""
    state: dict[str, Any] = {"card": L4, "opened": []}
    made = Artifact(format="onnx", path=str(graph), sha256="1" * 64, bytes=1)

    def opened(provider: Any, path: Path, precision: str, target: Any, threads: int, more: Any = None) -> None:
        state["opened"].append(onnxruntime_tensorrt.provider_options(provider, path.parent, precision) | (more or {}))
        (path.parent / "kept.engine").write_bytes(b"engine")

    monkeypatch.setattr(cards, "card", lambda device="": state["card"])
    monkeypatch.setattr(quantize, "artifact", lambda *asked: made)
    monkeypatch.setattr(onnxruntime_tensorrt, "opened", opened)
    return state


def test_engines_are_built_into_the_artifact_with_the_runs_shapes(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    artifact = onnxruntime_tensorrt.prepare(build, cache)
    folder = Path(artifact.path).parent
    assert sorted(path.name for path in folder.iterdir()) == ["entry.json", "kept.engine", "model.onnx", "shapes.json"]
    (asked,) = machine["opened"]
    assert asked["trt_profile_min_shapes"] == "x:1x4"
    assert (asked["trt_profile_opt_shapes"], asked["trt_profile_max_shapes"]) == ("x:2x4", "x:7x4")
    assert asked["trt_fp16_enable"] == "1"
    assert asked["trt_timing_cache_path"].startswith(str(cache.root / "timing"))
    assert onnxruntime_tensorrt.prepare(build, cache).sha256 == artifact.sha256
    assert len(machine["opened"]) == 1


def test_engines_of_another_card_are_built_again_and_that_is_said(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)
    onnxruntime_tensorrt.prepare(build, cache)
    machine["card"] = msgspec.structs.replace(L4, driver="600.1")
    onnxruntime_tensorrt.prepare(build, cache)
    assert len(machine["opened"]) == 2
    assert any("another card or driver" in text for text in said)


def test_damaged_engines_are_built_again_and_that_is_said(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache", said.append)
    kept = Path(onnxruntime_tensorrt.prepare(build, cache).path).parent / "kept.engine"
    kept.write_bytes(b"engin")
    onnxruntime_tensorrt.prepare(build, cache)
    assert kept.read_bytes() == b"engine"
    assert any("damaged: kept.engine" in text for text in said)


def test_the_plugins_artifact_is_the_graph_with_its_shapes(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    build = msgspec.structs.replace(build, backend="onnxruntime-tensorrt-rtx")
    artifact = onnxruntime_tensorrt_rtx.prepare(build, Cache(tmp_path / "cache"))
    shapes = json.loads((Path(artifact.path).parent / "shapes.json").read_text())
    assert shapes["nv_profile_max_shapes"] == "x:7x4"
    assert machine["opened"] == []


@pytest.mark.parametrize(
    ("precision", "card", "words"),
    [
        ("fp32", L4, "multiplies fp32 in TF32 on cards from compute capability 8.0 on"),
        ("tf32", T4, "7.5 have no tf32"),
    ],
)
def test_a_precision_that_the_provider_would_not_run_is_skipped_with_the_reason(
    build: Build, machine: dict[str, Any], tmp_path: Path, precision: str, card: Card, words: str
) -> None:
    machine["card"] = card
    asked = msgspec.structs.replace(build, precision=precision)
    assert onnxruntime_tensorrt.recipe(asked) is None
    with pytest.raises(Unsupported, match=words):
        onnxruntime_tensorrt.prepare(asked, Cache(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("target", "precision", "words"),
    [
        ("cuda", "int8", "CUDA provider multiplies no integers; onnxruntime-tensorrt"),
        ("cuda", "int8-dynamic", "CUDA provider multiplies no integers"),
        ("cpu", "fp16", "in fp32, between casts"),
        ("cpu", "tf32", "NVIDIA GPUs only"),
    ],
)
def test_what_a_devices_provider_does_not_compute_is_skipped_with_the_reason(
    build: Build, tmp_path: Path, target: str, precision: str, words: str
) -> None:
    asked = msgspec.structs.replace(build, target=targets.load()[target], precision=precision)
    assert backend.recipe(asked) is None
    with pytest.raises(Unsupported, match=words):
        backend.prepare(asked, Cache(tmp_path / "cache"))


def test_half_precision_on_a_gpu_is_the_graph_that_tensorrt_takes(build: Build) -> None:
    asked = msgspec.structs.replace(build, backend="onnxruntime")
    assert backend.recipe(asked) == quantize.recipe(asked, "tensorrt")


@pytest.mark.parametrize("module", [backend, onnxruntime_tensorrt, onnxruntime_tensorrt_rtx])
def test_a_readmes_lines_are_python_and_name_the_provider_or_its_plugin(module: Any) -> None:
    imports, lines = module.usage("model.onnx", "fp16")
    compile(f"{imports}\n{lines}", "README.md", "exec")
    assert "CUDAExecutionProvider" in lines or "plugin.get_ep_name()" in lines


def test_an_exported_folder_says_which_card_and_shapes_it_is_for(
    build: Build, machine: dict[str, Any], tmp_path: Path
) -> None:
    from optibench import package

    artifact = onnxruntime_tensorrt.prepare(build, Cache(tmp_path / "cache"))
    told = package._made_for(artifact)
    assert "NVIDIA L4 (driver 590.1)" in told
    assert "`x`: [1, 4] to [7, 4]" in told
