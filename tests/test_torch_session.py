"""PyTorch's two backends on the processor: compiled models really compile, torchao really quantizes, and what stands
in the way is told. What only a GPU runs is held against torch's own names."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench import inputs, models, plugins, targets, torch_session
from optibench.arrays import batches_of
from optibench.backends import pytorch, pytorch_compile
from optibench.cache import Cache
from optibench.errors import CaseFailed, Unsupported
from optibench.pipeline import mislabelled
from optibench.values import Build, Case, Job, Shape, Workload
from optibench.worker import Open, Warm, Worker

CPU, GPU = targets.load()["cpu"], targets.load()["cuda"]
SHAPES = (Shape(batch=1, length=24), Shape(batch=3, length=11))
needs_torchao = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="pip install 'optibench[torchao]'"
)


@pytest.fixture(scope="module")
def job(tiny_bert: Path, cache_root: Path) -> Job:
    model = models.resolve(str(tiny_bert))
    workload = Workload(shapes=SHAPES)
    rows = inputs.rows_of(model, workload)
    recipe = inputs.recipe(model, workload, rows.sources)
    cache = Cache(cache_root)
    entry = cache.get_or_make("inputs", recipe, lambda folder: inputs.make(folder, model, workload, rows))
    folder = str(cache.path(entry.key))
    build = Build(model=model, target=CPU, backend="pytorch", precision="fp32", inputs=folder, calibration_sha256="")
    return Job(
        case=Case(target="cpu", backend="pytorch", precision="fp32"),
        model=model,
        target=CPU,
        round=1,
        artifact=pytorch.prepare(build, cache),
        inputs=folder,
        shapes=SHAPES,
        threads=1,
    )


def in_precision(job: Job, precision: str) -> Job:
    return msgspec.structs.replace(job, case=msgspec.structs.replace(job.case, precision=precision))


def batch(job: Job, shape: Shape) -> dict[str, np.ndarray]:
    return next(batches_of(Path(job.inputs) / f"shape-{shape.name}.npz"))


def answers(backend: Any, job: Job, *batches: dict[str, np.ndarray]) -> list[np.ndarray]:
    with backend.session(job.artifact, job) as session:
        return [next(iter(session.arrays(session.call(session.feed(each))).values())) for each in batches]


@pytest.mark.slow
def test_a_compiled_model_answers_as_the_eager_one_on_timed_shapes_and_on_others(job: Job) -> None:
    timed = [batch(job, shape) for shape in SHAPES]
    other = {name: array[:2, :7] for name, array in timed[1].items()}
    for mine, theirs in zip(
        answers(pytorch_compile, job, *timed, other), answers(pytorch, job, *timed, other), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_each_timed_shape_is_compiled_on_its_own_and_all_others_once(job: Job) -> None:
    import torch

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    timed = [batch(job, shape) for shape in SHAPES]
    others = [{name: array[:2, :size] for name, array in timed[1].items()} for size in (5, 7, 9)]
    with pytorch_compile.session(job.artifact, job) as session:
        for each in (*timed, *others, *timed):
            session.call(session.feed(each))
        detail = session.executed(session.feed(timed[0])).detail
    assert detail["compiled_graphs"] == len(SHAPES) + 1
    assert detail["graph_breaks"] == 0


def test_a_model_of_which_nothing_was_compiled_is_a_failed_case(job: Job) -> None:
    import torch

    with pytorch_compile.session(job.artifact, job) as session:
        torch._dynamo.utils.counters.clear()
        with pytest.raises(CaseFailed, match="compiled nothing"):
            session.executed(session.feed(batch(job, SHAPES[0])))


@needs_torchao
@pytest.mark.parametrize(("precision", "name"), [("int8-dynamic", "int8"), ("int8-weights", "weights")])
def test_torchao_quantizes_every_linear_module_and_stays_near(job: Job, precision: str, name: str) -> None:
    asked = in_precision(job, precision)
    with pytorch.session(asked.artifact, asked) as session:
        feed = session.feed(batch(job, SHAPES[0]))
        mine = next(iter(session.arrays(session.call(feed)).values()))
        executed = session.executed(feed)
    assert mislabelled(precision, executed.precision) is None
    assert set(executed.operations) == {name}
    (theirs,) = answers(pytorch, job, batch(job, SHAPES[0]))
    cosine = (mine * theirs).sum() / np.linalg.norm(mine) / np.linalg.norm(theirs)
    assert 0.98 < cosine < 1  # not the same numbers, so it was quantized


@needs_torchao
@pytest.mark.slow
def test_linear_layers_of_gpt2s_own_class_are_quantized_too() -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=60, n_embd=32, n_layer=1, n_head=2, initializer_range=0.3)
    model = transformers.GPT2Model(config).eval()
    ids = {"input_ids": torch.arange(12).reshape(2, 6)}
    with torch.inference_mode():
        before = model(**ids).last_hidden_state
        torch_session.quantize(model, "int8-dynamic")
        after = model(**ids).last_hidden_state
    executed = torch_session.PyTorchSession(model, "cpu", "int8-dynamic").executed(None)
    assert executed.operations == {"int8": 4}
    assert float(torch.nn.functional.cosine_similarity(before, after, dim=-1).min()) > 0.99


@needs_torchao
def test_quantized_activations_are_told_by_a_name_that_each_of_torchaos_classes_has() -> None:
    from torchao import quantization

    for kind in (quantization.Int8Tensor, quantization.Float8Tensor):
        assert "act_quant_kwargs" in kind.optional_tensor_attribute_names
    assert not [name for name in torch_session.QUANTIZERS.values() if not hasattr(quantization, name)]


def test_a_precision_by_torchao_without_it_is_skipped_with_its_pip_line(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytorch, "missing", lambda module, extra: f"pip install 'optibench[{extra}]'")
    build = Build(
        model=job.model, target=CPU, backend="pytorch", precision="int8-dynamic", inputs="", calibration_sha256=""
    )
    with pytest.raises(Unsupported, match=r"optibench\[torchao\]"):
        pytorch.prepare(build, Cache(Path("unused")))
    with pytest.raises(Unsupported, match="fp8 exists on NVIDIA GPUs only"):
        pytorch.prepare(msgspec.structs.replace(build, precision="fp8"), Cache(Path("unused")))


def test_a_compiler_that_is_missing_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    why = pytorch_compile.probe(CPU)
    assert why is not None
    assert "there is no no-such-compiler: apt-get install g++" in why


def test_compiling_for_a_gpu_without_triton_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "_has_cuda", lambda: True)
    usual = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "triton" else usual(name))
    assert "triton is not installed" in (pytorch_compile.probe(GPU) or "")


@pytest.mark.parametrize("backend", [pytorch, pytorch_compile])
def test_a_build_for_processors_is_told_where_a_gpu_is_asked_for(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytorch, "_has_cuda", lambda: False)
    assert "build for processors" in (backend.probe(GPU) or "")


def test_cuda_that_cannot_be_used_is_a_failed_case_in_pytorchs_words(job: Job) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    asked = msgspec.structs.replace(job, target=GPU)
    with pytest.raises(CaseFailed, match="PyTorch cannot use CUDA: "), pytorch.session(job.artifact, asked):
        pass


def test_device_memory_that_runs_out_is_a_failed_case_with_the_bytes_asked_and_free(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In PyTorch's own words, which hold both; a reason is cut where they end."""
    import torch

    def call(session: Any, feed: Any) -> Any:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 146.00 MiB. GPU 0 has a total capacity of 8.00 GiB of which "
            "12.00 MiB is free. Including non-PyTorch memory, this process has 7.80 GiB memory in use. Of the "
            "allocated memory 7.50 GiB is allocated by PyTorch, and 20.00 MiB is reserved by PyTorch but unallocated."
        )

    monkeypatch.setattr(torch_session.PyTorchSession, "call", call)
    worker = Worker()
    opened = worker.answer(
        Open(job=job, backend=pytorch.__name__, task="optibench.tasks.feature_extraction", started_ns=0)
    )
    reply = opened if "error" in opened else worker.answer(Warm(shape=SHAPES[0]))
    worker.close()
    assert reply["kind"] == "failed"
    assert "Tried to allocate 146.00 MiB" in reply["error"]
    assert "of which 12.00 MiB is free" in reply["error"]


def test_a_card_that_lacks_a_precision_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(Unsupported, match=r"compute capability 7\.5 have no tf32"):
        torch_session._kind_of_card("tf32")
    assert torch_session._kind_of_card("int8-dynamic") == "float16"


def test_a_call_on_a_gpu_returns_when_the_device_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("waited"))
    model = SimpleNamespace()
    session = torch_session.PyTorchSession(model, "cuda", "fp32")
    assert session.call((lambda **tensors: done.append("ran"), {})) is None
    assert done == ["ran", "waited"]


def test_the_devices_own_time_is_taken_by_events_around_the_call_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that is the test's: the call moves it by 2 ms, once by 50 ms, and waiting by a millisecond."""
    import torch

    clock = {"ms": 0.0}
    calls = iter([50.0] + [2.0] * 100)

    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            assert enable_timing, "an event without it cannot be asked for a time"

        def record(self) -> None:
            self.at = clock["ms"]

        def synchronize(self) -> None:
            clock["ms"] += 1.0
            self.reached = True

        def elapsed_time(self, end: Any) -> float:
            assert end.reached, "asked before the device got there"
            return float(end.at - self.at)

    def model(**tensors: Any) -> None:
        clock["ms"] += next(calls)

    assert all(hasattr(torch.cuda.Event, name) for name in ("record", "synchronize", "elapsed_time"))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert torch_session.device_seconds(model) == pytest.approx(2e-3)


def test_what_a_gpu_executed_holds_the_devices_own_time_and_what_a_processor_did_does_not(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_session, "device_seconds", lambda call: 0.25 if call() is not None else 0.0)
    with pytorch.session(job.artifact, job) as session:
        feed = session.feed(batch(job, SHAPES[0]))
        assert "device_seconds" not in session.executed(feed).detail
        session.device = "cuda"
        assert session.executed(feed).detail["device_seconds"] == 0.25


def test_every_name_of_torch_that_is_used_exists() -> None:
    import torch

    used = set()
    for module in (torch_session, pytorch, pytorch_compile):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            name = dotted(node)
            if name.startswith("torch."):
                used.add(name.removeprefix("torch."))
    assert {"cuda.synchronize", "cuda.Event", "cuda.init", "cuda.get_device_capability", "compile"} <= used
    absent = []
    for name in sorted(used):
        found: Any = torch
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is None:
            absent.append(name)
    assert not absent


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def test_the_backends_stand_side_by_side_with_the_same_precisions() -> None:
    assert {"pytorch", "pytorch-compile"} <= set(plugins.names("backend"))
    assert pytorch_compile.PRECISIONS == pytorch.PRECISIONS
