"""What a request to generate text becomes: two shapes a prompt, the usual builds, and errors in words."""

from __future__ import annotations

from typing import Any

import pytest

from optibench import targets
from optibench.errors import OptibenchError
from optibench.plan import Plan, Request, plan_of
from optibench.values import Model
from tests import factories


def planned(positions: int | None = 512, task: str = "text-generation", source: str = "local", **asked: Any) -> Plan:
    model = Model(ref=factories.model(id="llama", task=task, source=source), path="/llama", max_length=positions)
    return plan_of(Request(model="llama", **asked), model, targets.load(), factories.host())


def names(plan: Plan) -> list[str]:
    return [shape.name for shape in plan.workload.shapes]


def test_each_batch_and_prompt_is_timed_in_two_phases() -> None:
    plan = planned(lengths=(128, 256), batches=(1, 8), new_tokens=32)
    assert names(plan) == [
        *("1x128 prefill", "1x128 decode", "1x256 prefill", "1x256 decode"),
        *("8x128 prefill", "8x128 decode", "8x256 prefill", "8x256 decode"),
    ]
    assert {shape.new_tokens for shape in plan.workload.shapes} == {0, 32}


@pytest.mark.parametrize(("positions", "prompt", "new"), [(512, 128, 64), (None, 128, 64), (64, 32, 32), (20, 10, 10)])
def test_by_default_prompt_and_new_tokens_fit_the_model(positions: int | None, prompt: int, new: int) -> None:
    decode = planned(positions).workload.shapes[1]
    assert (decode.length, decode.new_tokens) == (prompt, new)


def test_a_prompt_beyond_the_context_says_how_long_it_may_be() -> None:
    with pytest.raises(OptibenchError, match=r"512 positions.*takes 564.*a prompt of at most 448.*--prompt-length"):
        planned(lengths=(500,), new_tokens=64)
    with pytest.raises(OptibenchError, match="fewer new tokens"):
        planned(lengths=(1,), new_tokens=512)


def test_new_tokens_are_for_tasks_that_generate() -> None:
    with pytest.raises(OptibenchError, match="--new-tokens is for tasks that generate text; fill-mask does not"):
        planned(task="fill-mask", new_tokens=8)


def test_a_finished_graph_is_no_decoder_that_can_be_driven() -> None:
    with pytest.raises(OptibenchError, match="--task graph"):
        planned(source="onnx")


def test_what_is_tried_by_default_is_what_each_backend_generates_with() -> None:
    cases = [one.case for one in planned().cases if one.skip is None]
    assert {(case.backend, case.precision) for case in cases} >= {
        ("pytorch", "fp32"), ("onnxruntime", "int8-dynamic"), ("onnxruntime", "int4-weights"),
        ("openvino", "int8-weights"),
    }  # fmt: skip
    assert not any(case.precision == "int8" for case in cases)


def test_a_backend_that_generates_nothing_is_skipped_and_others_are_named() -> None:
    (skipped,) = (one for one in planned(backends=("pytorch-compile",), precisions=("fp32",)).cases if one.skip)
    assert skipped.skip == (
        "pytorch-compile generates no text here (of this target's backends do: pytorch, onnxruntime, openvino)"
    )


def test_several_sizes_have_a_longer_budget_of_their_own_and_phases_are_no_sizes() -> None:
    def seconds(**asked: Any) -> float:
        return planned(**asked).workload.budget_seconds

    assert seconds(batches=(1,)) == 300.0
    assert seconds(batches=(1, 8)) == 390.0
    assert (seconds(quick=True), seconds(quick=True, batches=(1, 8))) == (90.0, 180.0)
    assert seconds(batches=(1, 8), budget_seconds=60.0) == 60.0
