from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from optibench.arrays import save
from optibench.tasks import text_classification
from optibench.worker import Judge, Worker


class Small:
    """A session of a model of 600 words."""

    def feed(self, batch: Any) -> Any:
        return batch["input_ids"]

    def call(self, ids: Any) -> Any:
        if ids.max() >= 600:
            raise IndexError("index out of range in self")
        return {"logits": np.zeros((len(ids), 2))}

    def arrays(self, outputs: Any) -> Any:
        return outputs


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"order": [4, 0, 3, 1, 2], "numbers": [7, 8, 12, 15, 19]}, "with row 8 of the data"),
        ({"order": [4, 0, 3, 1, 2]}, "with evaluation input 4"),
    ],
)
def test_what_a_model_cannot_run_is_named(tmp_path: Path, facts: dict[str, Any], said: str) -> None:
    (tmp_path / "entry.json").write_bytes(msgspec.json.encode({"facts": facts}))
    batches = [np.full((2, 3), 5), np.array([[1, 2, 3], [1, 650, 3], [1, 2, 3]])]
    save(tmp_path / "evaluation.npz", [{"input_ids": ids} for ids in batches])
    worker: Any = Worker()
    worker.session, worker.task = Small(), text_classification
    worker.job = SimpleNamespace(inputs=str(tmp_path), model=None)
    reply = worker.answer(Judge(evaluation=str(tmp_path / "evaluation.npz"), out=str(tmp_path / "out")))
    assert reply == {"error": f"IndexError: index out of range in self, {said}", "kind": "failed"}
