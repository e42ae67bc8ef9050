"""The session that is measured, over a played GPU; then every call that it made, offered to the real bindings."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from optibench import targets
from optibench.arrays import save
from optibench.backends.onnxruntime import zeros_for
from optibench.errors import CaseFailed
from optibench.execute import inline
from optibench.nvidia import bindings as opened
from optibench.nvidia.session import EngineSession
from optibench.turns import run_round
from optibench.values import Artifact, Case, Job, Model, ModelRef, Shape, Workload
from tests.nvidia.double import CUDA, GPU, Plan, TensorRT

WIDE = {"ids": [(1, 1), (1, 8), (16, 32)]}
EIGHTS = {"ids": [(1, 1), (8, 8), (16, 32)]}
GEMM = {"LayerType": "gemm", "Inputs": [{"Format/Datatype": "Half"}], "TacticName": "sm80_xmma_gemm_f16f16"}

Open = Callable[..., EngineSession]


@pytest.fixture
def gpu() -> GPU:
    return GPU()


@pytest.fixture
def session_of(
    real: ModuleType, gpu: GPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., EngineSession]:
    """Opens a session on a plan, or on bytes, with TensorRT and CUDA played."""
    import cuda.bindings
    from cuda.bindings import runtime

    monkeypatch.setitem(sys.modules, "tensorrt", TensorRT(real, gpu))
    monkeypatch.setattr(opened, "absent", lambda flavour: None)
    monkeypatch.setattr(cuda.bindings, "runtime", CUDA(runtime, gpu))

    def open_it(plan: Plan | bytes = Plan([WIDE]), **options: Any) -> EngineSession:  # noqa: B008
        path = tmp_path / "model.engine"
        path.write_bytes(plan if isinstance(plan, bytes) else plan.to_bytes())
        return EngineSession(opened.TENSORRT, path, zeros_for, **options)

    return open_it


def ids(*shape: int) -> dict[str, np.ndarray]:
    return {"ids": np.arange(np.prod(shape), dtype=np.int64).reshape(shape)}


def test_each_call_answers_for_its_own_feed_in_any_order(session_of: Open) -> None:
    session = session_of()
    one, two = session.feed(ids(1, 8)), session.feed(ids(3, 5))
    for feed, shape in [(one, (1, 8)), (two, (3, 5)), (one, (1, 8)), (two, (3, 5)), (one, (1, 8)), (two, (3, 5))]:
        np.testing.assert_array_equal(session.arrays(session.call(feed))["out"], ids(*shape)["ids"] * 2.0)


def test_calls_after_the_first_are_graph_launches_and_nothing_else(session_of: Open, gpu: GPU) -> None:
    session = session_of()
    feed = session.feed(ids(1, 8))
    session.call(feed)
    session.call(feed)
    gpu.calls.clear()
    session.call(feed)
    assert [name for _, name, _ in gpu.calls] == ["cudaGraphLaunch", "cudaStreamSynchronize"]


def test_nothing_is_captured_in_the_call_that_changes_the_shape(session_of: Open, gpu: GPU) -> None:
    session = session_of()
    one, two = session.feed(ids(1, 8)), session.feed(ids(3, 5))
    for feed in (one, two, one, two):
        session.call(feed)
    assert "cudaStreamBeginCapture" not in [name for _, name, _ in gpu.calls]
    session.call(two)
    assert two.graph is not None


def test_a_call_that_cannot_be_captured_goes_on_without_a_graph_and_says_so(session_of: Open, gpu: GPU) -> None:
    gpu.capturable = False
    session = session_of()
    feed = session.feed(ids(2, 4))
    for _ in range(3):
        np.testing.assert_array_equal(session.arrays(session.call(feed))["out"], ids(2, 4)["ids"] * 2.0)
    assert "capturing" in session.executed(feed).detail["cuda_graph"]


def test_nothing_is_copied_or_allocated_in_a_timed_call(session_of: Open, gpu: GPU) -> None:
    session = session_of(cuda_graph=False)
    feed = session.feed(ids(1, 8))
    session.call(feed)
    gpu.calls.clear()
    session.call(feed)
    assert [name for _, name, _ in gpu.calls] == ["execute_async_v3", "cudaStreamSynchronize"]


def test_the_profile_made_for_a_shape_is_the_one_that_runs_it(session_of: Open) -> None:
    session = session_of(Plan([WIDE, EIGHTS]))
    assert session.feed(ids(8, 8)).profile == 1
    assert session.feed(ids(1, 8)).profile == 0
    assert session.feed(ids(2, 2)).profile == 0


def test_memory_of_a_feed_that_is_let_go_is_freed(session_of: Open, gpu: GPU) -> None:
    session = session_of()
    before = gpu.free_bytes
    for rows in range(1, 16):
        session.call(session.feed(ids(rows, 8)))
    session.current = None
    assert gpu.free_bytes == before


def test_a_shape_outside_the_profile_is_told_with_the_profile(session_of: Open) -> None:
    with pytest.raises(CaseFailed, match=r"'ids' of shape \(17, 8\) lies outside .* \(1, 1\) to \(16, 32\)"):
        session_of().feed(ids(17, 8))


@pytest.mark.parametrize("content", [b"", b"not an engine", Plan([WIDE]).to_bytes()[:-9]])
def test_a_corrupted_engine_is_told_in_tensorrts_words(session_of: Open, content: bytes) -> None:
    with pytest.raises(CaseFailed, match=r"cannot open this engine: .*Magic tag"):
        session_of(content)


def test_memory_that_runs_out_is_told_in_bytes_asked_and_free(session_of: Open, gpu: GPU) -> None:
    session = session_of()
    gpu.free_bytes = 1000
    with pytest.raises(CaseFailed, match=r"out of device memory: the input 'ids' takes 0 MB, and 0 of 1074 MB"):
        session.feed(ids(16, 32))


def test_an_engine_that_needs_more_memory_than_there_is_is_told_so(session_of: Open, gpu: GPU) -> None:
    gpu.free_bytes = 1 << 19
    with pytest.raises(CaseFailed, match=r"out of device memory: the engine's working memory takes 1 MB"):
        session_of()


def test_what_was_executed_is_the_inspectors_and_the_devices_time_is_by_events(session_of: Open) -> None:
    session = session_of(Plan([WIDE], layers=[GEMM, GEMM, {"LayerType": "kgen"}]))
    feed = session.feed(ids(1, 8))
    session.call(feed)
    session.call(feed)
    executed = session.executed(feed)
    assert (executed.precision, executed.operations) == ("fp16", {"fp16": 2})
    assert executed.detail["device_seconds"] == pytest.approx(0.25e-3)
    assert executed.detail["cuda_graph"] is True


def test_memory_that_runs_out_fails_that_case_alone_and_the_rest_goes_on(
    session_of: Open, gpu: GPU, tmp_path: Path
) -> None:
    session_of()  # TensorRT and CUDA are played from here on
    save(tmp_path / "shape-1x8.npz", [ids(1, 8)])
    ref = ModelRef(id="m", revision="r", task="feature-extraction", source="local", weights_sha256="0" * 64)
    shape = Shape(batch=1, length=8)
    jobs = []
    for precision, memory in (("fp32", 1 << 20), ("fp16", 1 << 40), ("int8", 1 << 20)):
        path = tmp_path / f"{precision}.engine"
        path.write_bytes(Plan([WIDE], memory_bytes=memory).to_bytes())
        jobs.append(
            Job(
                case=Case(target="cuda", backend="tensorrt", precision=precision),
                model=Model(ref=ref, path=""),
                target=targets.load()["cuda"],
                round=1,
                artifact=Artifact(format="tensorrt", path=str(path), sha256="0" * 64, bytes=1),
                inputs=str(tmp_path),
                shapes=(shape,),
                threads=1,
            )
        )
    workload = Workload(shapes=(shape,), blocks=2, burst_seconds=0.001)
    turners = run_round(jobs, inline.launch, workload, seed=0)
    assert [turner.status for turner in turners] == ["ok", "failed", "ok"]
    assert turners[1].reason == (
        "out of device memory: the engine's working memory takes 1099512 MB, and 1074 of 1074 MB are free"
    )
    assert all(len(turner.bursts[shape]) == 2 for turner in turners if turner.status == "ok")


def test_an_engine_too_large_for_the_device_is_told_in_bytes(session_of: Open, gpu: GPU) -> None:
    gpu.free_bytes = 10
    with pytest.raises(CaseFailed, match=r"out of device memory: the engine takes 0 MB, and 0 of 1074 MB"):
        session_of()


def test_every_call_of_a_session_is_one_that_the_real_bindings_take(
    session_of: Open, gpu: GPU, real: ModuleType
) -> None:
    from cuda.bindings import runtime

    played = session_of(Plan([WIDE, EIGHTS], layers=[GEMM]))
    for shape in ((1, 8), (8, 8)):
        feed = played.feed(ids(*shape))
        for _ in range(3):
            played.arrays(played.call(feed))
    played.executed(feed)
    del played, feed
    seen = {(owner, method): arguments for owner, method, arguments in gpu.calls}
    assert ("cuda", "cudaGraphExecDestroy") in seen
    assert ("IExecutionContext", "set_optimization_profile_async") in seen
    refused = []
    for (owner, method), arguments in seen.items():
        if owner == "cuda":
            function = getattr(runtime._real if isinstance(runtime, CUDA) else runtime, method)
            if not takes(function, *handles(runtime, method, arguments)):
                refused.append(f"cuda.{method}{arguments}")
        elif not takes_without_object(getattr(real, owner), method, arguments):
            refused.append(f"{owner}.{method}{arguments}")
    assert not refused


def test_a_call_that_the_real_bindings_refuse_is_found(real: ModuleType) -> None:
    context = real.IExecutionContext
    assert takes_without_object(context, "set_tensor_address", ("ids", 4096))
    assert not takes_without_object(context, "set_tensor_address", ("ids", "4096"))
    assert not takes_without_object(context, "set_input_shape", ("ids",))
    assert not takes_without_object(context, "execute_async_v2", (1,))


def handles(runtime: Any, method: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The played graphs and events are Python's; the real functions take their own types."""
    kinds = {
        "cudaGraphInstantiate": runtime.cudaGraph_t,
        "cudaGraphDestroy": runtime.cudaGraph_t,
        "cudaGraphLaunch": runtime.cudaGraphExec_t,
        "cudaGraphExecDestroy": runtime.cudaGraphExec_t,
    }
    made = kinds.get(method, runtime.cudaEvent_t)
    return tuple(made() if isinstance(argument, list) else argument for argument in arguments)


def takes(function: Callable[..., Any], *arguments: Any) -> bool:
    """Whether the function takes these arguments, in a child: without a driver it answers an error, or crashes."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            function(*arguments)
        except TypeError:
            os._exit(7)
        except BaseException:
            os._exit(8)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) or os.WEXITSTATUS(status) != 7


def takes_without_object(kind: type, method: str, arguments: tuple[Any, ...]) -> bool:
    """The same of a method, on an object with nothing behind it: arguments are checked before it is looked at."""
    return hasattr(kind, method) and takes(lambda: getattr(kind.__new__(kind), method)(*arguments))
