"""A baseline's file: small, readable, and nothing in it can be changed unseen."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import msgspec
import pytest

from optibench import baseline as baselines
from optibench import store
from optibench.errors import OptibenchError
from optibench.values import Burst, Case, Record, Score, Series, Shape
from tests.factories import baseline, figures, host, measurement, record

SHAPE = Shape(batch=1, length=128)


def series(milliseconds: float, peak: int = 100_000_000) -> Series:
    bursts = tuple(
        Burst(block=block, wall_ns=(round(milliseconds * 1e6),) * 2, cpu_ns=round(milliseconds * 2e6), switches=0)
        for block in range(12)
    )
    return Series(shape=SHAPE, first_call_seconds=0.02, warmup_calls=9, settled=True, peak_bytes=peak, bursts=bursts)


def run(rounds: int = 3, int8: float = 5.0) -> list[Record]:
    """Records of a reference, its twin and one case that is twice as fast."""
    found = []
    for number in range(1, rounds + 1):
        for case, milliseconds in (
            (Case(target="cpu", backend="pytorch", precision="fp32"), 10.0),
            (Case(target="cpu", backend="pytorch", precision="fp32", copy=1), 10.0),
            (Case(target="cpu", backend="onnxruntime", precision="int8"), int8),
        ):
            scores = Score(metric="spearman", value=0.71, count=3, predictions=(0.1, 0.25, 7.5), labels=(1.0, 2.0, 3.0))
            found.append(
                record(
                    case=case,
                    round=number,
                    measurement=measurement(series(milliseconds, 100_000_000 + number)),
                    scores=(scores,) if number == 1 and not case.copy else (),
                )
            )
    return found


def test_a_run_in_short_has_a_ratio_a_round_and_a_memory_peak_a_round() -> None:
    found = baselines.baseline_from_records(run())
    int8 = found.case("cpu/onnxruntime/int8")
    assert int8 is not None
    at = int8.at(SHAPE)
    assert at is not None
    assert at.log_ratios == (-0.69315,) * 3
    assert (at.speedup, at.p50_seconds) == (2.0, 0.005)
    assert at.peak_bytes == (100_000_001, 100_000_002, 100_000_003)
    assert int8.scores == {"spearman": 0.71}
    assert baselines.unpacked(int8.outcomes) == pytest.approx((0.1, 0.25, 7.5))
    assert found.reference_runtime == {"torch": "not known"}
    assert [case.case for case in found.cases] == ["cpu/pytorch/fp32", "cpu/onnxruntime/int8"]


def test_a_case_of_another_variant_is_not_the_runs_own() -> None:
    old = Case(target="cpu", backend="onnxruntime", precision="int8", variant="old")
    records = [*run(), *(record(case=old, round=n, measurement=measurement(series(6.0))) for n in (1, 2, 3))]
    assert len(baselines.baseline_from_records(records).cases) == 2
    (other,) = baselines.baseline_from_records(records, "old").cases
    assert other.case == "cpu/onnxruntime/int8"
    assert other.shapes[0].log_ratios[0] == pytest.approx(-0.51083)


def test_what_broke_or_was_skipped_is_nothing_to_hold_others_to() -> None:
    records = [
        *run(),
        record(case=Case(target="cpu", backend="openvino", precision="int8"), status="failed", reason="x"),
    ]
    found = baselines.baseline_from_records(records)
    assert found.cases[-1].reason == "x"
    assert len(baselines.as_yardstick(found).cases) == 2


@pytest.mark.parametrize("walls", [(), (0, 5)])
def test_a_burst_without_samples_is_an_error_that_names_its_place(walls: tuple[int, ...]) -> None:
    records = run()
    broken = series(5.0)
    burst = msgspec.structs.replace(broken.bursts[3], wall_ns=walls)
    broken = msgspec.structs.replace(broken, bursts=(*broken.bursts[:3], burst))
    records[-1] = msgspec.structs.replace(records[-1], measurement=measurement(broken))
    with pytest.raises(OptibenchError, match="cpu/onnxruntime/int8 at 1x128 has a burst without samples in round 3"):
        baselines.baseline_from_records(records)


@pytest.mark.parametrize("records", [[], [record(status="failed", measurement=None, reason="no")], [record()]])
def test_a_run_without_ratios_is_no_baseline(records: list[Record]) -> None:
    with pytest.raises(OptibenchError, match="Nothing was measured in this run, or not the reference"):
        baselines.baseline_from_records(records)


@pytest.mark.parametrize("values", [(), (1.0, 0.0, 255.0), (0.1, -3.5), (256.0,), (float("nan"),)])
def test_packed_numbers_come_back(values: tuple[float, ...]) -> None:
    assert baselines.unpacked(baselines.packed(values)) == pytest.approx(values, nan_ok=True, rel=1e-6)
    assert "\n" not in baselines.packed(values)


@pytest.mark.parametrize(
    "text",
    [
        "uint8:!",
        "uint8:AAAA",
        "object:eJxjAAAAAQAB",
        "nothing:eJxjAAAAAQAB",
        f"uint8:{base64.b64encode(zlib.compress(bytes(10), 9)[:-6]).decode()}",
        f"uint8:{base64.b64encode(zlib.compress(bytes(100 << 20), 9)).decode()}",
    ],
    ids=["no base64", "not packed", "objects", "no numbers", "cut off", "gigabytes"],
)
def test_numbers_that_cannot_be_unpacked_are_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(OptibenchError, match=r"cannot be read: .*optibench baseline update RUN"):
        baselines.unpacked(text)


# The file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    baselines.write(baseline(), tmp_path / "deep" / "b.json")
    return tmp_path / "deep" / "b.json"


def test_a_file_holds_what_was_written_and_is_small_and_readable(file: Path) -> None:
    assert msgspec.structs.replace(baselines.read(file), sha256="") == baseline()
    text = file.read_text()
    assert '"log_ratios": [-0.7, -0.69, -0.71, -0.7, -0.695],\n' in text
    assert len(text) < 5000  # two cases, 1,000 examples each
    assert text.endswith("}\n")


def test_the_same_run_gives_the_same_file(file: Path) -> None:
    assert baselines.text_of(baseline()) == file.read_text()


def test_a_number_edited_by_hand_is_noticed_and_said(file: Path) -> None:
    file.write_text(file.read_text().replace("-0.695]", "-0.300]"))
    with pytest.raises(OptibenchError, match=r"b\.json was changed after it was written.*optibench baseline update"):
        baselines.read(file)


def test_reformatting_is_no_edit(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()), indent=7, sort_keys=True))
    assert baselines.read(file).case("cpu/onnxruntime/int8") == figures()


def test_a_baseline_without_its_digest_is_refused(file: Path) -> None:
    plain = json.loads(file.read_text())
    for without in ({**plain, "sha256": ""}, {k: v for k, v in plain.items() if k != "sha256"}):
        file.write_text(json.dumps(without))
        with pytest.raises(OptibenchError, match="has lost its sha256"):
            baselines.read(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a baseline"),
        (b"name,value\n", "is not a baseline"),
        (b"[1, 2]", "is not a baseline"),
        (b'{"kind":' * 100_000, "is not a baseline"),
        (b'{\n<<<<<<< HEAD\n  "seed": 0,\n=======\n  "seed": 1,\n>>>>>>> other\n}', "a merge that was not finished"),
        (b"\xff\xfe\x00", "is not a baseline"),
        (b'{"schema": 1, "optibench_version": "0.1.0"}', "is not a baseline"),
        (b'{"kind": "optibench baseline", "schema": 9}', "has schema 9; .* reads schema 1"),
        (b'{"kind": "optibench baseline", "schema": 1}', "is not a whole baseline"),
        (b'{"kind": "optibench baseline", "schema": 1, "seed": NaN}', "is not a baseline"),
    ],
)
def test_a_file_that_is_no_baseline_is_a_clear_error(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(OptibenchError, match=says):
        baselines.read(file)


def test_a_number_that_is_not_finite_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match="log_ratios"):
        baselines.write(baseline(figures(logs=(float("nan"),))), tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match=r"no baseline .*x\.json\. Save one.*optibench baseline save"):
        baselines.read(tmp_path / "x.json")


def test_a_models_name_cannot_lead_out_of_the_folder() -> None:
    assert baselines.default_path("../../etc/passwd").parent == Path("reports/baselines")
    assert baselines.default_path("user/model").name == "user-model.json"
    assert baselines.default_path("///").name == "model.json"


# Records


def test_an_edited_line_of_records_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = store.create(tmp_path / "run", "minilm")
    for one in run():
        folder.append(one)
    file = folder.path / store.RECORDS
    lines = file.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace("5000000", "4000000", 1)
    file.write_text("".join(lines))
    with pytest.raises(OptibenchError, match=r"Line 3 of .*records\.jsonl was changed after it was written"):
        folder.records()


def test_records_without_a_digest_are_used_and_said(tmp_path: Path) -> None:
    folder = store.create(tmp_path / "run", "minilm")
    (folder.path / store.RECORDS).write_bytes(msgspec.json.encode(record()) + b"\n")
    found, warnings = folder.records()
    assert found == [record()]
    assert "1 of the records" in warnings[0]


def test_a_runtime_is_known_by_whichever_distribution_brought_it() -> None:
    graph = Case(target="cuda", backend="onnxruntime", precision="fp32")
    for packages, runtime in (
        ({"onnxruntime-gpu": "1.31.1"}, {"onnxruntime-gpu": "1.31.1"}),
        ({"onnxruntime": "1.32.0"}, {"onnxruntime": "1.32.0"}),
        ({}, {"onnxruntime": "not known"}),
    ):
        assert baselines._runtime(graph, host(packages=packages)) == runtime
