"""What a model is traced with: two rows at least, no mask of ones, and the axes that vary left free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from optibench import tracing


def pictures(*sizes: tuple[int, int]) -> list[dict[str, np.ndarray]]:
    return [
        {"pixel_values": np.ones((1, 3, *size), np.float32), "pixel_mask": np.ones((1, *size), np.int64)}
        for size in sizes
    ]


def test_pictures_of_one_size_vary_in_their_number_alone() -> None:
    samples = pictures((8, 8), (8, 8))
    batch = tracing.batch(samples, rows=2)
    assert batch["pixel_values"].shape == (2, 3, 8, 8)
    free = tracing.free_axes(samples, batch)
    assert free is not None
    assert {name: sorted(axes) for name, axes in free.items()} == {"pixel_values": [0], "pixel_mask": [0]}


def test_sizes_that_vary_are_free_and_differ_in_the_second_batch() -> None:
    samples = pictures((8, 8), (6, 8), (10, 12), (12, 12))
    first, second = tracing.batch(samples, rows=2), tracing.batch(samples, rows=3, length=48)
    assert first["pixel_values"].shape[2:] != second["pixel_values"].shape[2:]
    free = tracing.free_axes(samples, first)
    assert free is not None
    assert sorted(free["pixel_values"]) == [0, 2, 3]


def test_no_mask_is_all_ones() -> None:
    assert not tracing.batch(pictures((8, 8)), rows=2)["pixel_mask"].all()
    text = {"input_ids": np.arange(9)[None] + 5, "attention_mask": np.ones((1, 9), np.int64)}
    assert not tracing.batch([text], rows=2)["attention_mask"].all()


def test_rows_are_cut_to_several_lengths_and_keep_what_ends_their_texts() -> None:
    end, lengths = 3, (40, 50, 60)
    ids = [np.concatenate([[2], np.arange(5, n - 20), [end], np.arange(30, 50), [end]])[None] for n in lengths]
    samples = [{"input_ids": one, "attention_mask": np.ones_like(one)} for one in ids]
    batch = tracing.batch(samples, rows=3, length=28)
    rows = [row[mask > 0].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert [len(row) for row in rows] == [28, 14, 7]
    assert all(row.count(end) == 2 and row[0] == 2 and row[-1] == end for row in rows)


def test_what_all_rows_share_is_not_stacked_and_has_another_number_of_rows_the_second_time() -> None:
    samples = [{"pixel_values": np.ones((1, 3, 4, 4), np.float32), "input_ids": np.ones((5, 7), np.int64)}] * 3
    assert tracing.batch(samples, rows=2)["input_ids"].shape == (5, 7)
    assert tracing.batch(samples, rows=3, length=48)["input_ids"].shape == (6, 7)
    free = tracing.free_axes(samples, samples[0])
    assert free is not None
    assert sorted(free["input_ids"]) == [0, 1]


def test_texts_alone_leave_the_axes_to_the_exporter() -> None:
    assert tracing.free_axes([{"input_ids": np.ones((1, 7), np.int64)}], {"input_ids": None}) is None


class Norm(torch.nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows / torch.sqrt(rows.pow(2).mean(-1, keepdim=True) + 1e-8)


def test_a_small_epsilon_is_no_zero_so_a_row_of_padding_has_a_norm_in_onnx_too(tmp_path: Path) -> None:
    tracing.exact_zeros()
    torch.onnx.export(Norm(), (torch.ones(2, 3),), tmp_path / "norm.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "norm.onnx")
    (answer,) = session.run(None, {session.get_inputs()[0].name: np.array([[0, 0, 0], [1, 1, 1]], np.float32)})
    assert np.array_equal(np.round(answer, 3), [[0, 0, 0], [1, 1, 1]])


def test_a_longer_batch_repeats_tokens_but_not_those_that_end_its_texts() -> None:
    samples = [{"input_ids": np.array([[2, 5, 3, 6, 7, 3]]), "attention_mask": np.ones((1, 6), np.int64)}]
    batch = tracing.batch(samples, rows=2, length=12)
    assert batch["input_ids"].shape == (2, 12)
    assert [(row == 3).sum() for row in batch["input_ids"]] == [2, 2]
    assert batch["input_ids"][0, -1] == 3
    assert batch["attention_mask"].sum(axis=1).tolist() == [12, 6]


def test_what_stands_at_padding_is_not_looked_at() -> None:
    output = np.ones((2, 4, 3), np.float32)
    found = tracing.without_padding(output, {"attention_mask": np.array([[1] * 6 + [0] * 2, [1] * 8])})
    assert found.sum(axis=(1, 2)).tolist() == [9, 12]
    assert tracing.without_padding(output, {"pixel_values": output}) is output


def test_a_scalar_of_a_graph_is_no_row() -> None:
    samples = [{"scale": np.float32(2) * np.ones(()), "x": np.ones((1, 3), np.float32)}] * 4
    batch = tracing.batch(samples, rows=2)
    assert (batch["scale"].shape, batch["x"].shape) == ((), (2, 3))
