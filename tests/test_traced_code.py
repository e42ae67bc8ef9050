"""What a model's code asks while it is traced: the export follows other sizes, and does what was done for its batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optibench.traced_code import traceable


def exported(module: torch.nn.Module, x: torch.Tensor) -> Any:
    """As optibench exports it, with rows that vary."""
    with traceable(module, {"x": x}):
        return torch.export.export(
            module, (), {"x": x}, dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}}, strict=False
        ).module()


def test_the_length_of_a_tensor_is_not_fixed() -> None:
    """As in detectors whose code counts its rows by len()."""

    class Counting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(x), 2) + x

    assert exported(Counting(), torch.ones(2, 2))(x=torch.ones(5, 2)).shape == (5, 2)
    assert "len" not in globals()


def test_a_size_that_is_made_whole_is_not_fixed() -> None:
    """As in models of sound whose code counts frames by int(length / 2)."""

    class Halving(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            width = int("2")
            assert isinstance(width, int)
            return x[: int(x.shape[0] / 2)] * width

    assert exported(Halving(), torch.ones(6, 2))(x=torch.ones(11, 2)).shape == (5, 2)
    assert "int" not in globals()


@pytest.mark.parametrize("rounding", ["trunc", "floor"])
def test_a_size_that_torch_divides_is_a_size(rounding: str) -> None:
    """As in Longformer, whose windows are counted by torch.div."""

    class Windows(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.view(torch.div(x.shape[0], 2, rounding_mode=rounding), 4)

    assert exported(Windows(), torch.ones(6, 2))(x=torch.ones(10, 2)).shape == (5, 4)


def test_a_batch_of_one_row_stays_one_where_axes_of_one_are_left_out() -> None:
    """As in PLBart, which squeezes what it gathers."""

    class Squeezing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :1].squeeze() + torch.squeeze(x[:, :1])

    assert exported(Squeezing(), torch.ones(2, 3))(x=torch.ones(4, 3)).shape == (4,)


def test_a_question_of_the_data_is_answered_as_for_the_traced_batch() -> None:
    """As in Longformer, which asks whether any token is global."""

    class Asking(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = [bool((x > limit).any()) for limit in (0, 2)]
            if found[0] and not (x > 2).any().item() and not found[1]:
                return x + 1
            return x

    module = Asking()
    assert exported(module, torch.ones(2, 2))(x=torch.ones(3, 2)).tolist() == [[2, 2]] * 3
    assert module(torch.zeros(1, 1)).tolist() == [[0]], "and outside as ever"


class Experts(torch.nn.Module):
    """Loops over those experts that were hit; the last of the classes is none, as DBRX's."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.arange(3.0)[:, None] + 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = (x[:, 0] > 0).long()
        mask = torch.nn.functional.one_hot(chosen, 4).permute(1, 0)
        hit = torch.greater(mask.sum(-1), 0).nonzero()
        made = torch.zeros_like(x)
        for expert in hit:
            expert = expert[0]
            (rows,) = torch.where(mask[expert])
            made.index_add_(0, rows, x[rows] * self.weights[expert])
        return made


def test_a_loop_over_the_experts_that_were_hit_goes_through_all_of_them() -> None:
    x = torch.tensor([[1.0], [2.0], [3.0], [-4.0]])
    module = Experts()
    with torch.no_grad():
        traced = exported(module, torch.ones(3, 1))
        assert traced(x=x).tolist() == module(x).tolist() == [[2], [4], [6], [-4]]


def test_what_was_found_is_a_tensor_for_all_but_a_loop() -> None:
    class Counting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = (x[0] > 0).nonzero()
            return torch.cat(
                [x[:, found[0, 0], None], torch.squeeze(found, 1)[:1] + x[:, :1], found.float()[:1] + x[:, :1]], 1
            )

    x = torch.tensor([[0.0, 1.0], [5.0, 6.0]])
    assert exported(Counting(), x)(x=x).tolist() == Counting()(x).tolist()


def test_a_scan_that_a_model_forgoes_for_exports_is_traced_as_a_few_steps() -> None:
    """As in Mamba, which else is written out token by token."""
    traced = exported(Scanning(), torch.rand(2, 33))
    x = torch.rand(5, 33)
    assert torch.allclose(traced(x=x), x.cumsum(1), atol=1e-5)
    assert sum(node.op == "call_function" for node in traced.graph.nodes) < 100
    assert is_torchdynamo_exporting() is False
    from torch._higher_order_ops.associative_scan import associative_scan

    assert associative_scan.__module__.startswith("torch")


def is_torchdynamo_exporting() -> bool:
    return torch.compiler.is_exporting()


class Scanning(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        from torch._higher_order_ops.associative_scan import associative_scan

        if torch.compiler.is_compiling() and not is_torchdynamo_exporting():
            return associative_scan(lambda left, right: (left[0] + right[0],), (x,), dim=1, combine_mode="generic")[0]
        total, totals = torch.zeros_like(x[:, 0]), []
        for place in range(x.shape[1]):
            total = total + x[:, place]
            totals.append(total)
        return torch.stack(totals, 1)
