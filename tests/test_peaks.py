"""Published peaks in the targets' files: whole, in order, with their source; and where they are used."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from optibench import targets
from optibench.errors import OptibenchError
from optibench.gpu_values import Gpu, Peaks, Published
from optibench.limits import MEMORY, case_of
from optibench.values import PRECISIONS, Record, Target
from tests.factories import record
from tests.test_roofline import limit, result, shared
from tests.test_targets import GOOD, write

WITH_PEAKS = [(target, peaks) for target in targets.load().values() for peaks in target.peaks]
NO_PEAKS = {"cuda", "cuda-ada", "cuda-hopper", "cuda-orin"}
"""Families, which find their cards' peaks in the cards' own files; and a module whose name does not tell its peak."""
ENTRY = '[[peaks]]\ncard = "L4"\nsource = "s"\n'
L4 = Gpu(number=0, uuid="GPU-0", name="NVIDIA L4", compute_capability="8.9")


def test_every_card_has_peaks_or_a_reason() -> None:
    assert {name for name, t in targets.load().items() if t.device == "cuda" and not t.peaks} == NO_PEAKS


@pytest.mark.parametrize(("target", "peaks"), WITH_PEAKS, ids=[f"{t.name}: {p.card}" for t, p in WITH_PEAKS])
def test_a_cards_peaks_are_consistent(target: Target, peaks: Peaks) -> None:
    rates = peaks.tera_operations_per_second
    assert peaks.source.startswith("NVIDIA ")
    assert set(rates) <= set(target.precisions) & {p for p in PRECISIONS if "-" not in p}
    assert "fp32" in rates
    # A narrower number is never slower, and from fp32 to the tensor cores' first it is sixteenfold at most.
    order = [rates[name] for name in ("fp32", "tf32", "bf16", "fp16", "int8") if name in rates]
    assert order == sorted(order)
    assert all(narrow <= 16 * wide for wide, narrow in pairwise(order))
    # Dense int8 is twice dense half precision (or what accumulation in fp16 makes of it); sparse would be four times.
    assert rates["int8"] / rates["fp16"] == pytest.approx(2, rel=0.03)
    assert rates.get("fp8", rates["int8"]) == rates["int8"]
    assert 1 < rates["fp32"] < 200
    if peaks.memory_gigabytes_per_second:  # so many multiply-adds a byte make memory and arithmetic take equally long
        assert 5 < rates["fp16"] * 1e3 / peaks.memory_gigabytes_per_second < 500


@pytest.mark.parametrize(
    ("name", "precision", "per_second"),
    [
        ("Tesla T4", "fp16", 65e12),
        ("NVIDIA A100-SXM4-40GB", MEMORY, 1555e9),
        ("NVIDIA A100-PCIE-40GB", MEMORY, 1555e9),
        ("NVIDIA A100 80GB PCIe", MEMORY, 1935e9),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.5e12),
        ("NVIDIA H100 PCIe", "bf16", 756.5e12),
        ("NVIDIA H100 NVL", "bf16", 835.5e12),
        ("NVIDIA H200", MEMORY, 4800e9),
        ("NVIDIA H200", "bf16", 989.5e12),
        ("NVIDIA H200 NVL", "bf16", 835.5e12),
        ("NVIDIA GeForce RTX 4090", "int8", 660.6e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "int8", None),
        ("NVIDIA GeForce RTX 4080", "fp16", 194.9e12),
        ("NVIDIA GeForce RTX 4080 SUPER", "fp32", None),
        ("NVIDIA GeForce RTX 5090", MEMORY, 1792e9),
        ("NVIDIA GeForce RTX 5080", "bf16", 112.6e12),
        ("NVIDIA GeForce RTX 5080", "fp8", None),
        ("NVIDIA GeForce RTX 5080 Laptop GPU", "fp32", None),
        ("NVIDIA A10", "bf16", 125e12),
        ("NVIDIA A10G", "fp32", None),
        ("NVIDIA L40", "fp32", None),
        ("NVIDIA GH200 480GB", "fp32", None),
        ("NVIDIA L4", "int4-weights", None),
    ],
)
def test_a_peak_is_that_of_the_very_card(name: str, precision: str, per_second: float | None) -> None:
    card = Gpu(number=0, uuid="GPU-0", name=name, compute_capability="8.0")
    found = targets.published(card, precision, targets.load().values())
    assert (found and found.per_second) == per_second


def test_an_instance_of_a_card_has_no_published_peak() -> None:
    part = Gpu(number=0, uuid="MIG-0", name="NVIDIA L4", compute_capability="8.9", part_of="GPU-0")
    assert targets.published(L4, "fp32", targets.load().values())
    assert targets.published(part, "fp32", targets.load().values()) is None


def test_a_wrong_table_of_peaks_is_told_what_is_wrong(tmp_path: Path) -> None:
    for text, words in (
        ('[[peaks]]\ncard = "L4"\n', "source"),
        (ENTRY + "tera_operations_per_second = { fp31 = 1 }\n", "unknown precision.*'fp31'"),
        (ENTRY + "tera_operations_per_second = { fp32 = -1 }\n", "> 0"),
        (ENTRY + "memory_gigabyte_per_second = 1\n", "memory_gigabyte_per_second"),
        ("[peaks]\nfp32 = 1\n", "peaks"),
    ):
        with pytest.raises(OptibenchError, match=words):
            targets.load(write(tmp_path, GOOD + text))


def unmeasured(name: str, per_second: float | None) -> Record:
    published = Published(per_second=per_second, source="a data sheet") if per_second else None
    return record(
        case=case_of("cpu", name), status="failed", reason="no product", measurement=None, artifact=None,
        published=published,
    )  # fmt: skip


def test_a_published_peak_stands_where_none_could_be_measured_and_is_told() -> None:
    limits = [limit("fp32", 200e9), unmeasured("fp16", 400e9), unmeasured("int8", None)]
    found, known = shared(result(20), result(20, "fp16"), result(20, "int8"), limits=limits)
    assert [one.peak_share for one in found] == [pytest.approx(0.5), pytest.approx(0.25), None]
    assert known["cpu"].published == {"fp16": "a data sheet"}
    assert known["cpu"].how["fp16"] == "published: a data sheet"
    assert known["cpu"].missing == {"int8": "no product"}


def test_a_measured_peak_comes_before_a_published_one() -> None:
    both = [limit("fp32", 200e9), unmeasured("fp32", 900e9)]
    _, known = shared(result(20), limits=both)
    assert known["cpu"].operations_per_second["fp32"] == pytest.approx(200e9)
    assert known["cpu"].published == {}


def test_the_report_says_which_peak_was_published() -> None:
    from optibench.render import sentences
    from tests.factories import comparison

    limits = [limit("fp32", 200e9), unmeasured("fp16", 400e9)]
    _, known = shared(result(20), limits=limits)
    said = sentences.limits(comparison(limits=known))
    assert "Published, not measured, of cpu: fp16 (a data sheet)." in said
