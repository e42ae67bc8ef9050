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
