"""Runs of two sides: the same builds from two models, on the fake backend unless the test says otherwise."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optibench import against, api, models, store, targets
from optibench.cache import Cache
from optibench.errors import OptibenchError
from optibench.execute import inline
from optibench.pairs import Pair
from optibench.plan import Request, counterpart_of, twin_of
from optibench.schedule import groups_of
from optibench.values import Artifact, Case, Model, Record
from tests import factories
from tests.conftest import Optibench

FakeTarget = Callable[..., Path]
SLOWISH = {"latency_seconds": 0.200, "call_noise": 0.01}
USUAL = {"fp32": {"latency_seconds": 0.500, "call_noise": 0.01}, "int8": SLOWISH}


@pytest.fixture
def sides(
    tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., api.Result]:
    """Runs both sides on the fake target, workers in this process unless ``launch`` is None."""
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run(targets: Path, launch: Any = inline.launch, model: Path = tiny_bert, **asked: Any) -> api.Result:
        other = {name: asked.pop(name) for name in ("against", "against_env") if name in asked}
        request = Request(
            model=str(model), targets=("pretend",), targets_dir=str(targets), lengths=(16,), **{"rounds": 5, **asked}
        )
        return api.compare_sides(request, **other, out=tmp_path / "run", command="optibench gate x", launch=launch)

    return run


@pytest.fixture
def changed(tiny_bert: Path, tmp_path: Path) -> str:
    """A copy of the model with another weight: another revision of it."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "changed-bert"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("query.weight"))
    save_file({**weights, name: weights[name] * 1.5}, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def records(result: api.Result) -> list[Record]:
    assert result.path is not None
    return store.open_run(result.path).records()[0]


def pair(result: api.Result, case: str) -> Pair:
    assert result.path is not None
    return next(p for p in api.pairs(result.path) if p.case == case)


def test_a_planted_slowdown_between_the_sides_is_found_build_by_build(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str
) -> None:
    target = fake_target(**USUAL, against={"int8": {"latency_seconds": 0.180}})
    result = sides(target, against=changed)
    slower = pair(result, "pretend/fake/int8")
    assert slower.against == "against:pretend/fake/int8"
    assert slower.verdict == "slower"
    assert len(slower.values) >= 5
    assert sum(slower.values) / len(slower.values) == pytest.approx(math.log(200 / 180), abs=0.02)
    assert slower.speedup is not None
    assert slower.speedup.mid == pytest.approx(0.9, abs=0.02)
    assert pair(result, "pretend/fake/fp32").verdict == "same"


def test_both_sides_are_in_the_comparison_under_their_names_and_only_this_one_is_recommended(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str, tiny_classifier: Path, reviews: Path
) -> None:
    target = fake_target(**USUAL, against={"int8": {"latency_seconds": 0.050}})
    result = sides(
        target, model=tiny_classifier, against=str(tiny_classifier), dataset=str(reviews),
        columns={"text": "review", "label": "verdict"},
    )  # fmt: skip
    names = [case.case for case in result.comparison.cases]
    assert names == [
        "pretend/fake/fp32", "against:pretend/fake/fp32", "pretend/fake/int8", "against:pretend/fake/int8",
    ]  # fmt: skip
    assert result.comparison.reference == "pretend/fake/fp32"
    assert result.comparison.recommended is not None
    assert not result.comparison.recommended.case.startswith("against:")
    assert result.comparison.noise.aa_ratio is not None
    scores = pair(result, "pretend/fake/int8").scores
    assert scores[0].value == scores[0].reference  # the same model, so the same answers
    assert scores[0].count > 100


def test_each_record_says_which_model_its_side_is(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str
) -> None:
    result = sides(fake_target(**USUAL), against=changed, rounds=2)
    revisions = {record.case.variant: record.model.revision for record in records(result)}
    assert revisions[""] != revisions["against"]
    assert result.comparison.model.revision == revisions[""]
    report = (result.path / "report.md").read_text() if result.path else ""
    assert "against:pretend/fake/int8" in report


def test_a_case_that_breaks_on_one_side_says_why_and_its_turns_go_to_the_others(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str
) -> None:
    result = sides(fake_target(**USUAL, against={"int8": {"fail": "load"}}), against=changed)
    broken = pair(result, "pretend/fake/int8")
    assert broken.status == "failed"
    assert broken.reason is not None
    assert broken.reason.startswith("against:pretend/fake/int8: ")
    assert "cannot open this file" in broken.reason
    assert (broken.values, broken.verdict) == ((), "unknown")
    assert pair(result, "pretend/fake/fp32").verdict == "same"
    measured = [r.round for r in records(result) if r.case.name == "pretend/fake/int8" and r.measurement]
    assert measured == [1]


def test_further_rounds_hold_both_sides_of_what_is_open(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str
) -> None:
    edge = {"int8": {"latency_seconds": 0.196, "round_noise": 0.01}}  # 2% faster: on the edge of the floor
    result = sides(fake_target(**USUAL, against=edge), against=changed, budget_seconds=600.0)
    last = max(record.round for record in records(result))
    assert last > 5
    assert {record.case.name for record in records(result) if record.round == last} == {
        "pretend/fake/fp32", "pretend/fake/fp32#2", "pretend/fake/int8", "against:pretend/fake/int8",
    }  # fmt: skip


def test_an_interrupted_run_of_two_sides_goes_on_where_it_was(
    sides: Callable[..., api.Result], fake_target: FakeTarget, changed: str
) -> None:
    result = sides(fake_target(**USUAL), against=changed, rounds=2)
    assert result.path is not None
    file = result.path / "records.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    first = [line for line in lines if json.loads(line)["round"] < 2]
    file.write_text("".join(first))
    again = api.resume(result.path, launch=inline.launch)
    done = [(record.case.name, record.round) for record in records(again)]
    assert len(done) == len(set(done))
    both = [{name for name, number in done if number == wanted and "/limits/" not in name} for wanted in (1, 2)]
    assert both[0] == both[1]


def test_where_memory_is_short_both_sides_of_a_build_still_live_together() -> None:
    reference = Case(target="cpu", backend="pytorch", precision="fp32")
    builds = [Case(target="cpu", backend="openvino", precision=name) for name in ("fp32", "bf16", "int8")]
    cases = [reference, twin_of(reference), *builds, *(counterpart_of(case) for case in builds)]
    artifact = Artifact(format="any", path="", sha256="", bytes=1_000_000_000)
    groups = groups_of(cases, reference, dict.fromkeys(cases, artifact), 13_000_000_000)
    assert len(groups) == 3
    for group, build in zip(groups, builds, strict=True):
        assert group == [reference, twin_of(reference), build, counterpart_of(build)]


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ("v1.0", "user/encoder@v1.0"),
        ("refs/pr/1", "user/encoder@refs/pr/1"),
        ("someone/else", "someone/else"),
        ("user/encoder@feature/x", "user/encoder@feature/x"),
        ("minilm", "minilm"),
    ],
)
def test_a_revision_is_one_of_the_same_hub_id_and_a_model_is_a_model(
    tiny_bert: Path, fake_target: FakeTarget, monkeypatch: pytest.MonkeyPatch, other: str, name: str
) -> None:
    ref = factories.model(id="user/encoder", source="hub", task="feature-extraction")
    mine = Model(ref=ref, path=str(tiny_bert))
    asked: list[str] = []

    def resolve(place: str, **more: Any) -> Model:
        asked.append(place)
        return mine

    monkeypatch.setattr(models, "resolve", resolve)
    request = Request(model="user/encoder", targets=("pretend",), lengths=(16,), against=other)
    known = targets.load(fake_target(**USUAL))
    plan = against.two_sided(request, mine, known, factories.host(), Cache(tiny_bert), print)
    assert asked == [name]
    assert [case.name for case in plan.runnable if case.variant] == [
        "against:pretend/fake/fp32", "against:pretend/fake/int8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"against": "v1.0"}, "has no revision 'v1.0'"),
        ({"against": "./nowhere"}, "no model at ./nowhere"),
        ({"against_env": "old.txt"}, "no file or folder old.txt"),
        ({"against": "x", "against_env": "y"}, "one other side"),
        ({"against": "onnxruntime==1.0"}, "use none of the packages that are pinned"),
    ],
)
def test_what_cannot_be_the_other_side_is_said_before_anything_is_measured(
    sides: Callable[..., api.Result], fake_target: FakeTarget, tmp_path: Path, other: dict[str, str], words: str
) -> None:
    with pytest.raises(OptibenchError) as raised:
        sides(fake_target(**USUAL), **other)
    assert words in str(raised.value)
    assert not (tmp_path / "run").exists()


def bare_environment(folder: Path) -> Path:
    """A virtual environment with msgspec and numpy and nothing else, linked from here: no network, no pip."""
    import msgspec
    import numpy

    venv.create(folder, with_pip=False, symlinks=True)
    site = next((folder / "lib").glob("python*/site-packages"))
    for module in (msgspec, numpy):
        home = Path(str(module.__file__)).parent.parent
        for path in home.glob(f"{module.__name__}*"):
            (site / path.name).symlink_to(path)
    return folder


def test_another_environment_runs_its_side_alone_and_its_records_say_its_versions(
    sides: Callable[..., api.Result], fake_target: FakeTarget, tmp_path: Path
) -> None:
    folder = bare_environment(tmp_path / "old")
    result = sides(fake_target(**USUAL), launch=None, against_env=str(folder), rounds=2)
    mine, theirs = ({r.case.variant: r.host.packages for r in records(result)}[v] for v in ("", "against"))
    assert {"torch", "transformers", "numpy"} <= set(mine)
    assert set(theirs) == {"optibench", "numpy"}  # nothing of this environment is seen there
    assert {(r.case.variant, r.status) for r in records(result)} == {("", "ok"), ("against", "ok")}
    assert len(pair(result, "pretend/fake/int8").values) >= 2
    assert result.comparison.host.packages == mine


def test_an_environment_in_which_workers_cannot_run_is_refused_with_what_it_lacks(
    sides: Callable[..., api.Result], fake_target: FakeTarget, tmp_path: Path
) -> None:
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    with pytest.raises(OptibenchError, match="No module named 'numpy'"):
        sides(fake_target(**USUAL), against_env=str(tmp_path / "empty"))


# Real builds


def quick(model: Path, **asked: Any) -> Request:
    return Request(
        model=str(model), backends=("onnxruntime",), precisions=("fp32",), lengths=(16,), rounds=2, budget_seconds=20.0,
        **asked,
    )  # fmt: skip


def test_a_real_model_is_measured_against_a_changed_copy(
    tiny_bert: Path, changed: str, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    result = api.compare_sides(quick(tiny_bert), against=changed, out=tmp_path / "run", command="optibench gate x")
    names = {case.case: case for case in result.comparison.cases}
    assert {case.status for case in names.values()} == {"ok"}
    mine, theirs = names["cpu/onnxruntime/fp32"], names["against:cpu/onnxruntime/fp32"]
    assert mine.artifact_sha256 != theirs.artifact_sha256
    assert mine.parity is not None
    assert theirs.parity is not None
    assert mine.parity.cosine_min > 0.9999
    assert theirs.parity.cosine < 0.9999  # the weights really are others
    assert {p.case for p in api.pairs(tmp_path / "run")} == {"cpu/pytorch/fp32", "cpu/onnxruntime/fp32"}


def test_a_real_build_is_measured_against_one_that_was_exported_before(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    old = tmp_path / "old"
    assert optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", old).returncode == 0
    result = api.compare_sides(quick(tiny_bert), against=str(old), out=tmp_path / "run", command="optibench gate x")
    assert str(cache_root) not in (old / "optibench.json").read_text()  # names and digests: it may lie anywhere
    (both,) = api.pairs(tmp_path / "run")
    assert (both.case, both.status) == ("cpu/onnxruntime/fp32", "ok")
    assert both.speedup is None or both.speedup.mid > 0  # None: on a machine too busy for a round to count
    names = {case.case: case for case in result.comparison.cases}
    assert set(names) == {"cpu/pytorch/fp32", "cpu/onnxruntime/fp32", "against:cpu/onnxruntime/fp32"}
    theirs = names["against:cpu/onnxruntime/fp32"]
    assert theirs.artifact_sha256 == names["cpu/onnxruntime/fp32"].artifact_sha256
    assert theirs.parity is not None
    assert theirs.parity.cosine_min > 0.9999


def test_an_exported_build_that_was_changed_is_refused(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    old = tmp_path / "old"
    assert optibench("export", tiny_bert, "--backend", "onnxruntime", "--out", old).returncode == 0
    (old / "model.onnx").write_bytes((old / "model.onnx").read_bytes()[:-1])
    with pytest.raises(OptibenchError, match=r"model\.onnx is missing or another"):
        api.compare_sides(quick(tiny_bert), against=str(old), out=tmp_path / "run", command="optibench gate x")


@pytest.mark.fetches
def test_an_older_onnxruntime_is_measured_beside_this_one(
    tiny_bert: Path, tmp_path: Path, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTIBENCH_CACHE", str(cache_root))
    (tmp_path / "constraints-old.txt").write_text("# one release back\nonnxruntime==1.31.0\n")
    said: list[str] = []
    result = api.compare_sides(
        quick(tiny_bert), against_env=str(tmp_path / "constraints-old.txt"), out=tmp_path / "run",
        command="optibench gate x", say=said.append,
    )  # fmt: skip
    versions = {r.case.variant: r.host.packages["onnxruntime"] for r in records(result)}
    assert versions["against"] == "1.31.0"
    assert versions[""] != "1.31.0"
    assert pair(result, "cpu/onnxruntime/fp32").status == "ok"
    cases = {case.case: case for case in result.comparison.cases}
    # How far apart the two are is the machine's to say; that both were really measured is this test's.
    for name in ("cpu/onnxruntime/fp32", "against:cpu/onnxruntime/fp32"):
        assert cases[name].rounds >= 1
        assert cases[name].executed is not None
    assert subprocess.run([sys.executable, "-c", "import onnxruntime"]).returncode == 0
