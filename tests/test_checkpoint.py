from __future__ import annotations

from pathlib import Path

import pytest

from optibench import checkpoint, models
from optibench.errors import OptibenchError


def test_a_task_that_the_models_type_has_no_form_for_is_said(tiny_bert: Path) -> None:
    model = models.resolve(str(tiny_bert), task="translation")
    with pytest.raises(OptibenchError, match=r"type bert, as tiny-bert is, have no form for translation .*--task"):
        checkpoint.load(model)
