"""A history shown: a stranger's text stays text, in the terminal, in CSV and in the picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from optibench.render import chart_history
from optibench.render import history as render
from optibench.trend import History, history_of
from tests.factories import host, model
from tests.kept import INT8, records_of, write_run
from tests.render.hostile import OBEYED, TEXT


@pytest.fixture
def hostile(tmp_path: Path) -> History:
    for day in range(7):
        machine = host(cpu_model=TEXT, packages={TEXT: TEXT}) if day > 3 else host()
        write_run(tmp_path / f"{day}", records_of({INT8: 3.0}, day=day, host=machine, model=model(id=TEXT)))
    return history_of([tmp_path])


def test_nothing_of_a_strangers_text_is_obeyed(hostile: History) -> None:
    for shown in (render.text(hostile), render.table(hostile), chart_history.draw(hostile, ".svg").decode()):
        assert not set(OBEYED) & set(shown)
    assert "<b>tag</b>" not in chart_history.draw(hostile, ".svg").decode()
    assert "&lt;b&gt;tag&lt;/b&gt;" in chart_history.draw(hostile, ".svg").decode()


def test_the_reference_has_no_panel_and_every_other_case_one(hostile: History) -> None:
    panels = chart_history.specification(hostile)["vconcat"]
    assert [panel["title"]["text"] for panel in panels] == ["cpu/onnxruntime/int8 at 1×128"]


def test_an_interval_of_two_rounds_does_not_flatten_the_rest(tmp_path: Path) -> None:
    for day in range(6):
        write_run(tmp_path / f"{day}", records_of({INT8: 3.0}, day=day, rounds=2 if day == 2 else 5, noise=0.03))
    panel = chart_history.specification(history_of([tmp_path]))["vconcat"][0]
    low, high = panel["layer"][-1]["encoding"]["y"]["scale"]["domain"]
    assert high - low < 1.0
