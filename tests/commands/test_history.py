"""`optibench history` as a user runs it, over runs of planted speed-ups."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

import optibench as package
from optibench import bundle
from optibench.errors import OptibenchError
from optibench.trend import History
from optibench.values import Shape
from tests.conftest import Optibench
from tests.factories import host, model, record
from tests.kept import INT8, OPENVINO, records_of, write_history, write_run

NEW = {"packages": {"onnxruntime": "1.33.0", "huggingface_hub": "2.4.0"}}


def history(*places: Path, **more: Any) -> History:
    return package.history(*places, **more)


def stepped(root: Path, runs: int = 8, at: int = 4) -> Path:
    """Runs whose speed-up falls by a tenth when onnxruntime changes, on machines of changing speed."""
    for day in range(runs):
        new = day >= at
        write_run(
            root / f"run-{day:02}",
            records_of(
                {INT8: 2.7 if new else 3.0, OPENVINO: 5.0},
                day=day,
                slow=1.0 + 0.4 * (day % 3),
                host=host(**NEW) if new else host(),
            ),
        )
    return root


def test_a_step_is_reported_with_run_size_interval_and_what_else_was_new(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("history", stepped(tmp_path))
    assert done.returncode == 0, done.stderr
    changes = done.stdout.partition("Changes\n")[2].partition("\n\n")[0]
    assert "cpu/onnxruntime/int8 at 1×128: slower from run 5 on, by 0.90×" in changes
    assert "new in run 5: onnxruntime 1.32.0 -> 1.33.0" in changes
    assert "openvino" not in changes
    assert "in the 4 runs before" in changes


def test_the_interval_of_a_step_holds_what_was_planted(tmp_path: Path) -> None:
    found = history(stepped(tmp_path), cases="*/onnxruntime/*")
    (change,) = found.trends[0].changes
    assert change.run == 5
    assert change.verdict == "slower"
    assert change.ratio.low < 0.9 < change.ratio.high
    assert (change.runs_before, change.runs_after) == (4, 4)


def test_a_slower_machine_alone_is_no_change(tmp_path: Path) -> None:
    for day in range(12):
        write_run(tmp_path / f"{day}", records_of({INT8: 3.0}, day=day, slow=1.0 if day < 6 else 1.7))
    assert not history(tmp_path, cases="*int8").trends[0].changes


def test_where_every_case_changes_alike_the_reference_is_suspected(tmp_path: Path) -> None:
    for day in range(8):
        by = 1.2 if day >= 4 else 1.0
        write_run(tmp_path / f"{day}", records_of({INT8: 3.0 * by, OPENVINO: 5.0 * by}, day=day))
    (note,) = history(tmp_path).notes
    assert "Every case became faster at run 5" in note
    assert "cpu/pytorch/fp32" in note


def test_few_runs_have_a_trend_and_the_reason_why_no_change_is_looked_for(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("history", write_history(tmp_path, [3.0, 3.0, 2.0]))
    assert done.returncode == 0, done.stderr
    assert "no change is looked for in 3 of the 6 runs" in done.stdout
    assert "<-" not in done.stdout


def test_runs_are_ordered_by_their_time_whatever_their_names(tmp_path: Path) -> None:
    write_run(tmp_path / "a", records_of({INT8: 2.0}, day=9))
    write_run(tmp_path / "b", records_of({INT8: 3.0}, day=1))
    found = history(tmp_path / "a", tmp_path / "b")
    assert [Path(run.name).name for run in found.runs] == ["b", "a"]


def test_a_bundle_counts_as_its_run_and_the_same_run_counts_once(tmp_path: Path) -> None:
    root = write_history(tmp_path / "runs", [3.0, 3.0])
    bundle.write(root / "run-00", tmp_path / "run-00.optibench.zip")
    found = history(root, tmp_path / "run-00.optibench.zip")
    assert len(found.runs) == 2
    assert "the same run as" in found.left_out[0].reason
    assert len(history(root / "run-01", tmp_path / "run-00.optibench.zip").runs) == 2


def test_csv_has_a_row_a_run_and_the_change_in_its_own(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("history", stepped(tmp_path), "--format", "csv", "--cases", "*/onnxruntime/*")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 8
    assert [row["change"] for row in rows] == ["", "", "", "", "slower", "", "", ""]
    assert float(rows[4]["speedup_mid"]) == pytest.approx(2.7, rel=0.02)
    assert rows[4]["run_changes"] == "onnxruntime 1.32.0 -> 1.33.0"


def test_json_is_all_that_stands_on_standard_output(optibench: Optibench, tmp_path: Path) -> None:
    done = optibench("history", stepped(tmp_path), "--format", "json")
    found = json.loads(done.stdout)
    assert [change["run"] for trend in found["trends"] for change in trend["changes"]] == [5]


@pytest.mark.parametrize(("name", "begins"), [("trend.svg", b"<svg"), ("trend.png", b"\x89PNG\r\n")])
def test_a_picture_is_drawn_as_svg_or_png(optibench: Optibench, tmp_path: Path, name: str, begins: bytes) -> None:
    done = optibench("history", stepped(tmp_path / "runs"), "--out", tmp_path / name)
    assert done.returncode == 0, done.stderr
    drawn = (tmp_path / name).read_bytes()
    assert drawn.startswith(begins)
    if begins == b"<svg":
        for text in ("cpu/onnxruntime/int8", "▼ 0.90×", "5: onnxruntime 1.32.0", "1.33.0"):
            assert text in drawn.decode()


# What does not belong, and what is broken


def test_runs_of_another_model_workload_or_reference_are_named_and_left_out(tmp_path: Path) -> None:
    root = write_history(tmp_path, [3.0, 3.1, 3.0])
    write_run(tmp_path / "other", records_of({INT8: 9.0}, day=4, model=model(id="bert")))
    write_run(tmp_path / "shape", records_of({INT8: 9.0}, day=5, shape=Shape(batch=8, length=16)))
    found = history(root)
    assert len(found.runs) == 3
    told = {Path(one.name).name: one.reason for one in found.left_out}
    assert "another model or reference: bert" in told["other"]
    assert "another workload: shapes 8x16" in told["shape"]
    assert history(root, model="bert").model == "bert"


def test_what_cannot_be_read_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    root = write_history(tmp_path, [3.0, 3.1])
    broken = write_run(tmp_path / "broken", records_of({INT8: 3.0}, day=3))
    (broken / "records.jsonl").write_bytes(b"{broken}\n" + (broken / "records.jsonl").read_bytes())
    write_run(tmp_path / "newer", [record(schema=7)])
    write_run(tmp_path / "skipped", [record(status="skipped", reason="no NVIDIA driver here", measurement=None)])
    write_run(tmp_path / "empty", [], finished=False)
    (tmp_path / "empty" / "plan.json").write_text("{}")
    (tmp_path / "cut.optibench.zip").write_bytes(b"PK\x03\x04")
    found = history(root)
    assert len(found.runs) == 2
    told = {Path(one.name).name: one.reason for one in found.left_out}
    assert "Line 1" in told["broken"]
    assert "schema 7" in told["newer"]
    assert "no NVIDIA driver here" in told["skipped"]
    assert "nothing was measured" in told["empty"]
    assert "no whole bundle" in told["cut.optibench.zip"]


def test_half_a_run_with_its_last_line_cut_off_is_used_and_both_are_said(optibench: Optibench, tmp_path: Path) -> None:
    root = write_history(tmp_path, [3.0, 3.1])
    half = write_run(tmp_path / "half", records_of({INT8: 3.0}, day=3, rounds=3), finished=False)
    (half / "records.jsonl").write_bytes((half / "records.jsonl").read_bytes()[:-100])
    done = optibench("history", root)
    assert done.returncode == 0, done.stderr
    assert "line 9) was cut off" in done.stdout
    assert "half was not finished: the rounds that it has (3)" in done.stdout
    assert "3 runs" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["."], "There is no run to make a history of. No run was found."),
        (["nowhere"], "nowhere does not exist"),
        (["runs", "--cases", "cpu/openvine/*"], "Unknown case 'cpu/openvine/*'"),
        (["runs", "--model", "minlm"], "Did you mean minilm?"),
        (["runs", "--out", "trend.gif"], "ends in .svg or .png"),
        (["runs", "--format", "xml"], "text"),
        ([], "DIR"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(
    optibench: Optibench, tmp_path: Path, args: list[str], words: str
) -> None:
    if "runs" in args:
        write_history(tmp_path / "runs", [3.0])
    done = optibench("history", *args, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_where_nothing_is_left_the_reasons_are_the_error(tmp_path: Path) -> None:
    write_run(tmp_path / "skipped", [record(status="skipped", reason="no driver", measurement=None)])
    with pytest.raises(OptibenchError, match=r"no run to make a history of.*no driver"):
        history(tmp_path)
