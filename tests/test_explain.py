"""Why a quantized build is slower than its fp32 sibling (of a processor only where one ran it), or no smaller."""

from __future__ import annotations

from typing import Any

import pytest

from optibench import explain
from optibench.results import Interval
from optibench.values import Executed
from tests import factories

OLD = factories.host(isa=("avx2",))


def note(name: str, executed: Executed, **more: Any) -> str:
    """What is said of a build that takes twice as long as its sibling in fp32."""
    target, backend, precision = name.split("/")
    slow, usual = Interval(low=0.49, mid=0.5, high=0.51), Interval(low=0.99, mid=1.0, high=1.01)
    sibling = factories.case(f"{target}/{backend}/fp32", speedup=usual, executed=None, **more)
    result = factories.case(name, speedup=slow, executed=executed, **more)
    (found,) = [one for one in explain.with_notes([sibling, result], OLD) if one.precision == precision]
    return found.notes[-1]


def executed(provider: str, precision: str = "int8", **more: Any) -> Executed:
    return Executed(provider=provider, precision=precision, threads=2, **more)


@pytest.mark.parametrize("provider", ["CPUExecutionProvider", "OpenVINO CPU", "PyTorch eager, cpu"])
def test_a_processor_without_integer_products_and_few_rows_are_reasons_on_a_processor(provider: str) -> None:
    said = note("cpu/onnxruntime/int8", executed(provider, operations={"int8": 36}), length=8)
    assert said == (
        "slower than cpu/onnxruntime/fp32: this processor has no integer dot product (VNNI, AMX, SDOT); "
        "8 rows are few for 2 threads: conversions outweigh the products"
    )


@pytest.mark.parametrize("provider", ["TensorRT 10.16.1", "PyTorch eager, cuda", "OpenVINO GPU.0"])
def test_of_a_gpu_nothing_is_said_of_the_processor(provider: str) -> None:
    some = executed(provider, operations={"int8": 10, "fp16": 26})
    said = note("cuda/tensorrt/int8", some, length=8)
    assert said == "slower than cuda/tensorrt/fp32: only 10 of 36 large operations run in int8"
    said = note("cuda/tensorrt/int8", executed(provider, operations={"int8": 36}), length=8)
    assert said == "slower than cuda/tensorrt/fp32: why is not known from what the runtime tells"


def test_a_precision_that_a_runtime_does_not_tell_is_not_called_executed() -> None:
    said = note("cuda/onnxruntime-tensorrt/int8", executed("TensorrtExecutionProvider", "none", fallback_nodes=3))
    assert said.endswith("fp32: 3 nodes run on another device, with copies between")


@pytest.mark.parametrize(("size", "told"), [(99_000_000, True), (27_000_000, False)])
def test_a_weight_only_build_that_is_as_large_as_before_says_why(size: int, told: bool) -> None:
    """A model of convolutions: the recipe for weights alone is for matrix products."""
    before = factories.case("cpu/onnxruntime/fp32", artifact_bytes=100_000_000)
    after = factories.case("cpu/onnxruntime/int8-weights", artifact_bytes=size)
    _, found = explain.with_notes([before, after], factories.host())
    assert any("as large as cpu/onnxruntime/fp32" in note for note in found.notes) == told
