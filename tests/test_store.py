"""A run's folder: nothing is lost, nothing half-written is believed."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from optibench import store
from optibench.errors import OptibenchError
from optibench.results import Interval, Latency
from optibench.values import Burst, Score, Series, Shape, Workload
from tests.factories import case, comparison, measurement, record


@pytest.fixture
def run(tmp_path: Path) -> store.Run:
    return store.create(tmp_path / "run", "minilm")


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """The kernel refuses to let a file grow beyond ``size`` bytes: a part is taken, as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_records_come_back_as_they_were_appended(run: store.Run) -> None:
    made = [record(round=i, status="ok" if i else "failed") for i in range(3)]
    for one in made:
        run.append(one)
    assert store.open_run(run.path).records() == (made, [])


def test_a_run_without_records_has_none(run: store.Run) -> None:
    assert run.records() == ([], [])


def test_a_last_line_cut_off_by_a_crash_is_left_out_with_a_warning(run: store.Run) -> None:
    run.append(record(round=0))
    run.append(record(round=1))
    file = run.path / "records.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    found, warnings = run.records()
    assert [r.round for r in found] == [0]
    assert "line 2" in warnings[0]
    assert "cut off" in warnings[0]


@pytest.mark.parametrize("torn", [b'{"schema": 1, "ca', b"\0" * 200_000], ids=["part of a line", "zeros"])
def test_appending_after_a_crash_takes_the_cut_off_line_away(run: store.Run, torn: bytes) -> None:
    run.append(record(round=0))
    with (run.path / "records.jsonl").open("ab") as file:
        file.write(torn)
    run.append(record(round=1))
    found, warnings = run.records()
    assert [r.round for r in found] == [0, 1]
    assert warnings == []


@pytest.mark.parametrize("broken", [b"{not json}", b"\xff\xfe", b'{"schema":1,"round":"first"}', b'"text"'])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(run: store.Run, broken: bytes) -> None:
    run.append(record())
    with (run.path / "records.jsonl").open("ab") as file:
        file.write(broken + b"\n")
    run.append(record())
    with pytest.raises(OptibenchError, match=r"Line 2 of .*records\.jsonl is not a whole record"):
        run.records()


@pytest.mark.parametrize("wall_ns", [(), (12_000_000, 0), (-1,)])
def test_samples_that_cannot_be_times_are_an_error_that_names_the_line(
    run: store.Run, wall_ns: tuple[int, ...]
) -> None:
    burst = Burst(block=0, wall_ns=wall_ns, cpu_ns=1, switches=0)
    series = Series(
        shape=Shape(batch=1, length=8),
        first_call_seconds=0.1,
        warmup_calls=1,
        settled=True,
        peak_bytes=1,
        bursts=(burst,),
    )
    run.append(record(measurement=measurement(series)))
    with pytest.raises(OptibenchError, match=r"Line 1 of .* is not a whole record: .*wall_ns"):
        run.records()


def test_a_newer_schema_is_an_error_that_names_both_versions(run: store.Run) -> None:
    run.append(record(schema=7))
    with pytest.raises(OptibenchError, match=r"Line 1 .* has schema 7; .* reads schema 1.*update"):
        run.records()


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_and_its_place_named(run: store.Run, number: float) -> None:
    run.append(record(round=0))
    with pytest.raises(OptibenchError, match=r"Record\.measurement\.load_seconds is -?(nan|inf)"):
        run.append(record(measurement=measurement(load_seconds=number)))
    with pytest.raises(OptibenchError, match=r"Record\.scores\[0\]\.predictions\[1\]"):
        run.append(record(scores=(Score(metric="f1", value=0.9, count=2, predictions=(1.0, number)),)))
    assert len(run.records()[0]) == 1


def test_a_comparison_with_nan_where_null_is_allowed_is_refused_too(run: store.Run) -> None:
    broken = comparison(cases=(case(latency_seconds=Latency(p50=math.nan, p90=None, p99=None)),))
    with pytest.raises(OptibenchError, match=r"Comparison\.cases\[0\]\.latency_seconds\.p50 is nan"):
        run.write_comparison(broken, {})
    unbounded = comparison(cases=(case(speedup=Interval(low=-math.inf, mid=2, high=math.inf)),))
    with pytest.raises(OptibenchError, match=r"speedup\.low is -inf"):
        run.write_comparison(unbounded, {})
    assert not (run.path / "comparison.json").exists()


def test_a_full_disk_keeps_the_records_before_and_says_how_to_go_on(run: store.Run) -> None:
    run.append(record(round=0))
    size = (run.path / "records.jsonl").stat().st_size
    with files_limited_to(size + 100), pytest.raises(OptibenchError, match=r"disk is full.*kept.*--resume"):
        run.append(record(round=1))
    assert (run.path / "records.jsonl").stat().st_size == size
    run.append(record(round=1))
    assert [r.round for r in run.records()[0]] == [0, 1]


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "disk is full"), (errno.EIO, "Input/output error")])
def test_a_write_that_fails_when_flushed_leaves_no_part(
    run: store.Run, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    run.append(record(round=0))
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OptibenchError, match=says):
            run.append(record(round=1))
    assert len(run.records()[0]) == 1


def test_json_that_is_nested_beyond_reading_is_an_error_that_names_the_place(run: store.Run) -> None:
    deep = b'{"schema":1,"x":' * 200_000 + b"1" + b"}" * 200_000
    for name in (store.RECORDS, store.COMPARISON, store.PLAN):
        (run.path / name).write_bytes(deep + b"\n")
    with pytest.raises(OptibenchError, match=r"Line 1 of .*records\.jsonl is not a whole record: .*recursion"):
        run.records()
    with pytest.raises(OptibenchError, match=r"comparison\.json is not a whole comparison: .*recursion"):
        store.load(run.path)
    with pytest.raises(OptibenchError, match=r"plan\.json cannot be read: .*recursion"):
        run.plan()


def test_empty_lines_take_no_memory_and_are_counted_where_a_broken_one_is_named() -> None:
    blank = b"\n \r\n" * 2_000_000
    tracemalloc.start()
    try:
        assert store.records_from_bytes(blank, "it") == ([], [])
        assert tracemalloc.get_traced_memory()[1] < 10 << 20  # a list of these lines has over 100 MB
    finally:
        tracemalloc.stop()
    with pytest.raises(OptibenchError, match="Line 4 of it is not a whole record"):
        store.records_from_bytes(b"\n\n \n{}\n", "it")


def test_text_that_is_not_unicode_is_refused_with_the_text(run: store.Run) -> None:
    with pytest.raises(OptibenchError, match="not valid Unicode"):
        run.append(record(reason="caf\udce9"))


def test_a_full_disk_leaves_the_old_comparison_whole(run: store.Run) -> None:
    run.append(record())
    run.write_comparison(comparison(command="first"), {"report.md": "first"})
    with files_limited_to(100), pytest.raises(OptibenchError, match="disk is full"):
        run.write_comparison(comparison(command="second"), {"report.md": "second"})
    assert store.load(run.path).command == "first"
    assert not list(run.path.glob(".*"))


def test_the_comparison_is_written_with_its_texts_and_loads_again(run: store.Run) -> None:
    made = comparison()
    run.write_comparison(made, {"table.csv": "a,b\n", "report.md": "# µ\n"})
    assert store.load(run.path) == made
    assert store.load(run.path / "comparison.json") == made
    assert (run.path / "report.md").read_text(encoding="utf-8") == "# µ\n"
    assert {p.name for p in run.path.iterdir()} == {
        "comparison.json",
        "table.csv",
        "report.md",
        "records.parquet",
        "logs",
    }


def test_parquet_has_a_row_for_each_record_and_shape(run: store.Run) -> None:
    shapes = (Shape(batch=1, length=128), Shape(batch=8, length=128))
    burst = Burst(block=0, wall_ns=(5, 7), cpu_ns=11, switches=0)
    series = [
        Series(shape=s, first_call_seconds=0.1, warmup_calls=3, settled=True, peak_bytes=9, bursts=(burst, burst))
        for s in shapes
    ]
    run.append(record(measurement=measurement(*series), workload=Workload(shapes=shapes)))
    run.append(record(status="failed", reason="out of memory", measurement=None, workload=Workload(shapes=shapes)))
    run.write_comparison(comparison(), {})
    rows = parquet.read_table(run.path / "records.parquet").to_pylist()
    assert [(r["batch"], r["status"]) for r in rows] == [(1, "ok"), (8, "ok"), (1, "failed"), (8, "failed")]
    assert rows[0]["case"] == "cpu/onnxruntime/int8-dynamic"
    assert (rows[0]["wall_ns"], rows[0]["burst_calls"], rows[0]["cpu_ns"]) == ([5, 7, 5, 7], [2, 2], [11, 11])
    assert json.loads(rows[0]["host_json"])["cores"] == 4
    assert rows[2]["wall_ns"] is None
    assert rows[2]["reason"] == "out of memory"


def test_a_plan_comes_back_and_one_that_is_missing_is_said(run: store.Run) -> None:
    with pytest.raises(OptibenchError, match="cannot be resumed"):
        run.plan()
    run.write_plan({"targets": ["cpu"], "budget": 1.5})
    assert run.plan() == {"targets": ["cpu"], "budget": 1.5}


def test_a_run_begins_under_a_name_made_of_time_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [store.create(None, "../../etc/my model:ü@main\n").path for _ in range(2)]
    assert names[0] != names[1]
    for path in names:
        assert path.parent == Path("optibench-runs")
        assert path.name[:15].replace("-", "").isdigit()
        assert "etc-my-model-main" in path.name
        assert (path / "logs").is_dir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_is_written_whole_leaves_pipes_and_links_what_they_are(tmp_path: Path) -> None:
    """As root ``--out /dev/stdout`` put a file in the place of the machine's own."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    store.write_whole(pipe, b"told")
    assert os.read(reading, 10) == b"told"
    os.close(reading)
    assert pipe.is_fifo()
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    store.write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_folder_that_another_process_measures_into_is_refused_until_that_one_is_done(tmp_path: Path) -> None:
    one, other = (store.create(tmp_path / "run", "minilm") for _ in range(2))  # neither has written anything yet
    with one.alone(), pytest.raises(OptibenchError, match="Another optibench is measuring into"), other.alone():
        pass
    with other.alone():
        pass


def test_a_folder_that_holds_a_run_is_refused_with_what_to_do(run: store.Run) -> None:
    run.append(record())
    with pytest.raises(OptibenchError, match=r"already holds a run.*--resume .*--out"):
        store.create(run.path, "minilm")


def test_a_folder_of_other_things_is_taken(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert store.create(tmp_path, "minilm").path == tmp_path


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_in_the_way_is_named(tmp_path: Path, below: str) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OptibenchError, match=r"/taken is a file.*--out"):
        store.create(tmp_path / "taken" / below, "minilm")


def test_an_unwritable_folder_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**where: object) -> None:  # root may write anywhere, so a real folder would not do in a container
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OptibenchError, match=r"cannot be written: Permission denied.*--out"):
        store.create(tmp_path / "run", "minilm")


def test_opening_what_is_no_run_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, says in (
        (tmp_path, "has no run"),
        (tmp_path / "no", "does not exist"),
        (tmp_path / "file", "not a fold"),
    ):
        with pytest.raises(OptibenchError, match=rf"{says}.*expected a run's folder"):
            store.open_run(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a whole comparison"),
        (b"{", "not a whole comparison"),
        (b'{"a": 1}', "missing required field `schema`"),
        (b'{"schema": 1}', "missing required field"),
        (b'{"schema": 9}', r"has schema 9; .* reads schema 1"),
        (b'{"schema": NaN}', "not a whole comparison"),
    ],
)
def test_a_comparison_that_cannot_be_read_is_a_clear_error(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "comparison.json").write_bytes(content)
    with pytest.raises(OptibenchError, match=says):
        store.load(tmp_path)


def test_loading_a_run_that_is_not_finished_says_how_to_go_on(run: store.Run) -> None:
    with pytest.raises(OptibenchError, match=r"no .*comparison\.json\. Give"):
        store.load(run.path)
    run.append(record())
    with pytest.raises(OptibenchError, match=r"not finished.*--resume"):
        store.load(run.path)
