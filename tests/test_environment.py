"""Other sets of package versions: what pins may say, and environments made by pip without a network."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from optibench import environment
from optibench.cache import Cache
from optibench.errors import OptibenchError


def wheel(folder: Path, version: str) -> str:
    """A distribution of one module, as a requirement."""
    folder.mkdir(exist_ok=True)
    path = folder / f"tinypkg-{version}-py3-none-any.whl"
    info = f"tinypkg-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tinypkg.py", f"VERSION = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tinypkg\nVersion: {version}\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return f"tinypkg @ {path.as_uri()}"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_an_environment_is_made_once_and_taken_from_the_cache_after_that(tmp_path: Path, no_network: None) -> None:
    said: list[str] = []
    cache = Cache(tmp_path / "cache")
    asked = [wheel(tmp_path / "wheels", "1.2")]
    python = environment.from_lines(asked, ["tinypkg==1.2"], cache, said.append)
    shown = subprocess.run(
        [str(python), "-c", "import tinypkg; print(tinypkg.VERSION)"], capture_output=True, text=True
    )
    assert shown.stdout.strip() == "1.2"
    assert any("Processing" in text and text.startswith("preparing the environment") for text in said)
    said.clear()
    assert environment.from_lines(asked, ["tinypkg==1.2"], cache, said.append) == python
    assert said == []


def test_what_pip_says_is_shown_in_a_sentence_and_nothing_half_made_stays(tmp_path: Path, no_network: None) -> None:
    cache = Cache(tmp_path / "cache")
    with pytest.raises(OptibenchError, match=r"No matching distribution found for tinypkg==9\.9\. Pin versions"):
        environment.from_lines(["tinypkg==9.9"], [], cache, lambda text: None)
    assert list(cache.entries()) == []
    assert cache.leftovers() == []


def test_of_pins_that_contradict_each_other_it_is_said_which() -> None:
    said = """Processing ./tinypkg-1.2-py3-none-any.whl
ERROR: Cannot install tinypkg==1.2 because these package versions have conflicting dependencies.

The conflict is caused by:
tinypkg 1.2 depends on otherpkg>=2
The user requested (constraint) otherpkg==1.0

To fix this you could try to:
1. loosen the range of package versions you've specified
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/"""
    assert environment.reason(said.splitlines()) == (
        "tinypkg 1.2 depends on otherpkg>=2; The user requested (constraint) otherpkg==1.0"
    )


def test_only_optibench_itself_is_seen_from_another_environment(tmp_path: Path) -> None:
    path = Path(environment.variables(Cache(tmp_path / "cache"))["PYTHONPATH"])
    assert sorted(p.name.partition("-")[0] for p in path.iterdir() if p.name != "entry.json") == ["optibench"] * 2
    assert "fake" in next(path.glob("*.dist-info/entry_points.txt")).read_text()


def test_pins_are_read_a_line_each_and_comments_left_out() -> None:
    text = "# last month\nonnxruntime==1.30.0  # the old one\n\nNumPy>=2,<2.4\nnever==1; python_version < '3'\n"
    assert environment.pins_from_text(text, "old.txt") == {"onnxruntime": "==1.30.0", "numpy": "<2.4,>=2"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-r other.txt", "Line 2 of old.txt is not a pin"),
        ("onnxruntime", "names no version"),
        ("onnxruntime @ https://example.org/x.whl", "names no version"),
        ("one two three", "is not a pin"),
    ],
)
def test_a_line_that_is_no_pin_is_named(line: str, words: str) -> None:
    with pytest.raises(OptibenchError, match=words):
        environment.pins_from_text(f"numpy==2.0\n{line}\n", "old.txt")


@pytest.mark.parametrize(
    ("text", "pin"),
    [("onnxruntime==1.30.0", True), ("main", False), ("v1.0", False), ("a1b2c3d4", False), ("x y", False)],
)
def test_a_pin_is_told_from_a_revision(text: str, pin: bool) -> None:
    assert environment.is_pin(text) is pin


def test_what_is_not_pinned_has_this_environments_version() -> None:
    import msgspec
    import numpy

    wanted = environment.requirements([])
    closure = environment.installed_closure(wanted)
    assert closure["numpy"] == f"=={numpy.__version__}"
    assert closure["msgspec"] == f"=={msgspec.__version__}"
    assert "+" not in closure["torch"]  # a CPU build satisfies the public version
    assert "onnxruntime" not in closure
    assert "onnxruntime" in environment.installed_closure(environment.requirements(["onnxruntime"]))


def test_pins_that_change_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptibenchError, match="none of the packages that are pinned"):
        environment.made({"leftpad": "==1"}, [], Cache(tmp_path), lambda text: None)


def test_the_distribution_that_is_installed_here_stands_in_for_the_other_of_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU build of ONNX Runtime has another name and the same module: the other side must not run on the CPU."""
    import importlib.metadata

    info = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    usual = environment.version_of
    monkeypatch.setattr(environment, "version_of", lambda name: None if name == "onnxruntime" else usual(name))
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: {"onnxruntime": ["onnxruntime-gpu"]})
    asked = environment.requirements(["onnxruntime"])
    assert "onnxruntime" not in [requirement.name for requirement in asked]
    (gpu,) = [requirement for requirement in asked if requirement.name == "onnxruntime-gpu"]
    assert gpu.extras == {"cuda", "cudnn"}  # as the extra onnxruntime-gpu asks for it, with CUDA's libraries
    assert environment.installed_closure(asked)["onnxruntime-gpu"] == "==1.31.1"
    with pytest.raises(OptibenchError, match=r"none of the packages that are pinned \(onnxruntime\).*onnxruntime-gpu"):
        environment.made({"onnxruntime": "==1.30"}, ["onnxruntime"], Cache(tmp_path / "cache"), lambda text: None)


def test_a_distribution_that_nothing_stands_in_for_is_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    monkeypatch.setattr(environment, "version_of", lambda name: None)
    monkeypatch.setattr(importlib.metadata, "packages_distributions", dict)
    names = [requirement.name for requirement in environment.requirements(["onnxruntime"])]
    assert "onnxruntime" in names
    assert "onnxruntime-gpu" not in names
