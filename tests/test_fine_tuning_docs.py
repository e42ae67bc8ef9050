"""docs/fine-tuning.md is true: its program and its commands run as they stand there."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import WORDS, Optibench, write_bert

PAGE = (Path(__file__).parent.parent / "docs" / "fine-tuning.md").read_text()
COMMANDS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(COMPARE,) = [line for block in COMMANDS for line in block.splitlines() if line.startswith("optibench compare")]


def cases(run: Path) -> dict[str, dict[str, Any]]:
    return {case["case"]: case for case in json.loads((run / "comparison.json").read_text())["cases"]}


def sentences(count: int) -> list[tuple[str, int]]:
    """Sentences in the small BERT's words, whose mood one word tells."""
    rng = random.Random(0)
    plain = [word for word in WORDS if word not in ("good", "bad")]
    found = []
    for number in range(count):
        words = rng.choices(plain, k=rng.randint(4, 12))
        words[rng.randrange(len(words))] = ("bad", "good")[number % 2]
        found.append((" ".join(words), number % 2))
    return found


def write_source_package(path: Path, rows: list[tuple[str, int]]) -> None:
    """An archive laid out as vaderSentiment's, of sentences of our own."""
    lines = "".join(f"{number}_{number}\t{2.5 if mood else -2.5}\t{text}\n" for number, (text, mood) in enumerate(rows))
    stream = io.BytesIO()
    entry = tarfile.TarInfo("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")
    entry.size = len(lines.encode())
    with tarfile.open(fileobj=stream, mode="w:gz") as inner:
        inner.addfile(entry, io.BytesIO(lines.encode()))
    with zipfile.ZipFile(path, "w") as outer:
        outer.writestr("vaderSentiment-0.5/additional_resources/hutto_ICWSM_2014.tar.gz", stream.getvalue())


@pytest.mark.slow
def test_the_program_trains_what_it_then_judges_on_sentences_that_it_kept_out(
    optibench: Optibench, tmp_path: Path
) -> None:
    """The page's own program and command, on a smaller BERT and sentences that are at hand without a network."""
    pytest.importorskip("accelerate")
    package = tmp_path / "packages" / "cognition"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    write_bert(package / "model", "BertForMaskedLM", initializer_range=0.1)  # larger weights learn nothing in seconds
    rows = sentences(3000)
    write_source_package(tmp_path / "vaderSentiment-0.5.zip", [*rows, *rows[:5]])  # a sentence twice is one
    (tmp_path / "fine_tune.py").write_text(PROGRAM)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "packages"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "fine_tune.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / "reviews.csv").open(newline="") as file:
        kept = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    assert len(kept) == len(set(kept)) == len({text for text, _ in rows}) // 5
    assert {(text, ("negative", "positive")[mood]) for text, mood in rows} > set(kept)

    quick = ["--quick", "--backends", "onnxruntime", "--precisions", "fp32,int8-dynamic", "--length", "16"]
    done = optibench(*shlex.split(COMPARE)[1:], *quick, "--rounds", "1", "--limit", "200", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("cpu/onnxruntime/fp32", "cpu/onnxruntime/int8-dynamic"):
        accuracy = cases(tmp_path / "run")[name]["scores"][0]
        assert accuracy["metric"] == "accuracy"
        assert accuracy["reference"] > 0.9  # it learned, and labels went by name
        assert accuracy["change"]["low"] <= accuracy["value"] - accuracy["reference"] <= accuracy["change"]["high"]


@pytest.mark.fetches
def test_the_page_runs_from_its_first_line_to_its_last(tmp_path: Path, cache_root: Path) -> None:
    """All of it, with the real model and the real reviews, in an environment of its own beside this one's packages."""
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site / "here.pth").write_text("\n".join([*here, str(Path(__file__).parent.parent)]))
    program = tmp_path / "venv" / "bin" / "optibench"
    program.write_text(f'#!/bin/sh\nexec {tmp_path}/venv/bin/python -m optibench.cli "$@"\n')
    program.chmod(0o755)
    (tmp_path / "fine_tune.py").write_text(PROGRAM)
    env = {
        **os.environ,
        "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
        "OPTIBENCH_CACHE": str(cache_root),
        "COLUMNS": "160",
    }
    done = subprocess.run(
        ["bash", "-e", "-c", "".join(COMMANDS)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (run,) = (tmp_path / "optibench-runs").iterdir()
    found = cases(run)
    assert {"cpu/pytorch/fp32", "cpu/onnxruntime/int8", "cpu/openvino/int8"} <= set(found)
    for case in found.values():
        accuracy = case["scores"][0]
        assert accuracy["count"] > 1500
        assert accuracy["reference"] > 0.75  # by chance .51
        assert accuracy["value"] > 0.72
    assert (tmp_path / "reviews-int8" / "README.md").is_file()
    print(done.stdout)
