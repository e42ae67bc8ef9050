"""ONNX Runtime's GPU build and its TensorRT-RTX plugin, the real ones, where there is no GPU: what they say without a
driver, that nothing of it becomes a figure, and that every option that is set is one of theirs.

tox installs both into a folder of their own, since the GPU build holds the same files as the other one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper as h

from optibench import targets
from optibench.arrays import save
from optibench.backends import onnxruntime as backend
from optibench.backends import onnxruntime_tensorrt, onnxruntime_tensorrt_rtx
from optibench.errors import CaseFailed
from optibench.nvidia import libraries, providers
from optibench.nvidia.bound import BoundSession
from optibench.nvidia.device import DEVICE_CALLS
from optibench.values import Artifact, Case, Job, Model, ModelRef, Shape
from optibench.worker import Open, Worker
from tests.nvidia import double

GPU = targets.load()["cuda"]
EACH = [providers.CUDA, providers.TENSORRT, providers.RTX]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    x, y = (h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 4]) for name in ("x", "y"))
    made = h.make_graph([h.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    path = tmp_path / "model.onnx"
    onnx.save(h.make_model(made, opset_imports=[h.make_opsetid("", 17)], ir_version=9), path)
    (tmp_path / "shapes.json").write_text(json.dumps({}))
    return path


def test_the_real_gpu_build_is_what_is_imported() -> None:
    import onnxruntime

    assert str(Path(onnxruntime.__file__).parent).startswith(os.environ["OPTIBENCH_ONNXRUNTIME"])
    assert {providers.CUDA.name, providers.TENSORRT.name} <= set(onnxruntime.get_available_providers())


@pytest.mark.parametrize("provider", EACH, ids=lambda provider: provider.backend)
def test_without_a_driver_each_provider_says_what_is_missing(provider: providers.Provider) -> None:
    why = providers.absent(provider, GPU)
    assert why is not None
    assert "no NVIDIA driver" in why or "which no wheel and no system folder has: pip install" in why


def test_onnxruntime_itself_falls_back_to_the_cpu_in_silence(graph: Path) -> None:
    """Why all of this is needed: not one word of Python says that this is no GPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=[providers.CUDA.name])
    assert session.get_providers() == [providers.CPU]


@pytest.mark.parametrize("provider", EACH, ids=lambda provider: provider.backend)
def test_a_session_that_is_not_on_the_gpu_is_a_failed_case(provider: providers.Provider, graph: Path) -> None:
    with pytest.raises(CaseFailed, match=provider.name) as failed:
        BoundSession(provider, graph, 1, {}, {})
    print(failed.value)


@pytest.mark.parametrize(
    "module", [backend, onnxruntime_tensorrt, onnxruntime_tensorrt_rtx], ids=lambda module: module.__name__
)
def test_a_worker_makes_it_a_failed_case_with_its_words(module: Any, graph: Path) -> None:
    save(graph.parent / "shape-1.npz", [{"x": np.ones((1, 4), np.float32)}])
    ref = ModelRef(id="m", revision="r", task="graph", source="onnx", weights_sha256="0" * 64)
    job = Job(
        case=Case(target="cuda", backend="b", precision="tf32"),
        model=Model(ref=ref, path=str(graph)),
        target=GPU,
        round=1,
        artifact=Artifact(format="onnx", path=str(graph), sha256="", bytes=1),
        inputs=str(graph.parent),
        shapes=(Shape(batch=1, length=0),),
        threads=1,
    )
    request = Open(job=job, backend=module.__name__, task="optibench.tasks.graph", started_ns=0)
    reply = Worker().answer(request)
    assert reply["kind"] == "failed"
    assert "ExecutionProvider" in reply["error"]


def test_nodes_are_counted_by_the_real_build_on_its_cpu_provider(graph: Path) -> None:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(graph, settings, providers=[providers.CPU])
    assert providers.nodes_by_provider(session) == {providers.CPU: 1}


def options_that_are_set(tmp_path: Path) -> dict[str, set[str]]:
    """Every option of a provider's that the code may set, by the provider's name."""
    found = {}
    for provider in EACH:
        shapes = {f"{provider.prefix}_profile_{word}_shapes": "x:1x4" for word in ("min", "opt", "max")}
        (tmp_path / "shapes.json").write_text(json.dumps(shapes if provider.prefix else {}))
        told = {provider.graphs}
        for precision in onnxruntime_tensorrt.PRECISIONS:
            told |= set(onnxruntime_tensorrt.provider_options(provider, tmp_path, precision))
        found[provider.name] = told
    found[providers.CUDA.name] |= {"use_tf32", providers.CUDA.stream}
    found[providers.TENSORRT.name] |= {"trt_timing_cache_enable", "trt_timing_cache_path"}
    return found


@pytest.mark.parametrize("provider", EACH, ids=lambda provider: provider.backend)
def test_every_option_that_is_set_is_one_of_the_providers(provider: providers.Provider, tmp_path: Path) -> None:
    library = providers.library_of(provider)
    assert library is not None
    content = library.read_bytes()
    for header in library.parent.glob("*_provider_options.h"):  # the plugin's wheel holds the header that names them
        content += header.read_bytes().replace(b'"', b"\0")
    told = options_that_are_set(tmp_path)[provider.name]
    assert told
    assert not [name for name in sorted(told) if name.encode() + b"\0" not in content]


def test_the_tensorrt_provider_has_no_option_against_tf32() -> None:
    """If it had one, fp32 could be offered on every card."""
    library = providers.library_of(providers.TENSORRT)
    assert library is not None
    assert b"trt_tf32" not in library.read_bytes()


def test_libraries_that_are_missing_are_those_of_cuda_and_tensorrt() -> None:
    for provider, word in ((providers.CUDA, "libcu"), (providers.TENSORRT, "libnvinfer.so.10")):
        library = providers.library_of(provider)
        assert library is not None
        assert any(name.startswith(word) for name in libraries.lacking(library))


# The device's own time: the real build's sessions on its CPU provider, around them CUDA as it is played

PLAYED = msgspec.structs.replace(providers.CUDA, name=providers.CPU, graphs="session_graphs")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> double.GPU:
    """CUDA's events and stream; each call of a session takes a quarter of a millisecond by their clock."""
    import cuda.bindings
    import onnxruntime
    from cuda.bindings import runtime

    gpu = double.GPU()
    usual = onnxruntime.InferenceSession.run_with_iobinding

    def run(session: Any, binding: Any, options: Any = None) -> None:
        gpu.record("session", "run", options and options.get_run_config_entry(providers.NO_WAIT))
        gpu.clock_ms += 0.25
        usual(session, binding, options)

    monkeypatch.setattr(cuda.bindings, "runtime", double.CUDA(runtime, gpu))
    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", run)
    return gpu


def executed(graph: Path, provider: providers.Provider, calls: int = 2, **options: str) -> dict[str, Any]:
    session = BoundSession(provider, graph, 1, {}, options, device="cpu")
    feed = session.feed({"x": np.ones((2, 4), np.float32)})
    for _ in range(calls):
        session.call(feed)
    return session.executed(feed).detail


def test_the_devices_time_is_of_calls_between_events_that_do_not_wait(graph: Path, played: double.GPU) -> None:
    assert executed(graph, PLAYED)["device_seconds"] == pytest.approx(0.25e-3)
    names = [(method, arguments[:1]) for _, method, arguments in played.calls]
    runs = [number for number, (method, arguments) in enumerate(names) if (method, arguments) == ("run", ("1",))]
    assert len(runs) == DEVICE_CALLS
    for run in runs:  # nothing lies between the two events but the call
        around = [method for method, _ in names[run - 1 : run + 3]]
        assert around == ["cudaEventRecord", "run", "cudaEventRecord", "cudaEventSynchronize"]


def test_the_timed_calls_themselves_wait_and_have_no_stream_of_ours(
    graph: Path, played: double.GPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    usual = providers.opened

    def opened(provider: Any, path: Path, settings: Any, options: dict[str, str]) -> Any:
        told.append(dict(options))
        return usual(provider, path, settings, options)

    monkeypatch.setattr(providers, "opened", opened)
    executed(graph, PLAYED)
    # plain, captured, profiled; the last is the device's time's own, which replays as the timed calls do
    assert told == [{}, {"session_graphs": "1"}, {}, {"session_graphs": "1", "user_compute_stream": "7"}]
    told.clear()
    executed(graph, PLAYED, session_graphs="0")
    assert told == [{}, {}, {"user_compute_stream": "7"}]
    waited = [arguments[0] for _, method, arguments in played.calls if method == "run"]
    assert waited[:3] == [None, None, None]


@pytest.mark.parametrize("provider", [providers.TENSORRT, providers.RTX], ids=lambda provider: provider.backend)
def test_a_provider_that_waits_within_a_call_has_no_device_time_but_the_reason(provider: providers.Provider) -> None:
    for replayed in (True, False):
        assert "for CUDAExecutionProvider alone" in str(providers.waits_within(provider, replayed))


def test_a_replay_of_an_onnxruntime_that_waits_within_it_is_not_timed(
    graph: Path, played: double.GPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "__version__", "1.26.0")
    detail = executed(graph, PLAYED)
    assert "device_seconds" not in detail
    assert "onnxruntime before 1.27 waits" in detail["no_device_seconds"]
    assert executed(graph, PLAYED, session_graphs="0")["device_seconds"] == pytest.approx(0.25e-3)


def test_without_a_driver_only_the_devices_time_is_missing_and_why_is_told(graph: Path) -> None:
    detail = executed(graph, PLAYED)
    assert detail["cuda_graph"] is True
    assert "device_seconds" not in detail
    assert "CUDA failed in cudaStreamCreateWithFlags" in detail["no_device_seconds"]


def test_the_runs_option_is_one_that_the_real_build_knows() -> None:
    import onnxruntime

    built = Path(onnxruntime.__file__).parent.glob("capi/onnxruntime_pybind11_state*.so")
    assert any(providers.NO_WAIT.encode() + b"\0" in library.read_bytes() for library in built)
