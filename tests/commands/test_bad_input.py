"""Bad input gets a clear error and loses nothing: one line, no traceback, the exit code of the contract."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Optibench, write_bert

FakeTarget = Callable[..., Path]


def refused(optibench: Optibench, *args: object, code: int = 2, **more: object) -> str:
    """The error that the command gives: on standard error, whole sentences, no traceback."""
    done = optibench(*args, **more)  # type: ignore[arg-type]  # cwd and env, as they come
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.stderr


@pytest.fixture
def copy(tiny_classifier: Path, tmp_path: Path) -> Path:
    """The classifier, to be spoilt."""
    return Path(shutil.copytree(tiny_classifier, tmp_path / "model"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["minlm"], ["Unknown model 'minlm'", "Did you mean minilm"]),
        (["user/nothing"], ["user/nothing is not on this machine", "HF_HUB_OFFLINE"]),
        (["./nowhere"], ["no such folder or file"]),
        (["./nowhere.onnx"], ["no such folder or file"]),
        (["minilm", "--targets", "cpux"], ["Unknown target 'cpux'", "Did you mean cpu"]),
        (["minilm", "--targets", ""], ["No target is named"]),
        (["minilm", "--backends", "openvine"], ["Unknown backend 'openvine'", "Did you mean openvino"]),
        (["minilm", "--precisions", "int9"], ["Unknown precision 'int9'", "int8"]),
        (["minilm", "--task", "text-clasification"], ["Unknown task", "Did you mean text-classification"]),
        (["minilm", "--batch", "0"], ["--batch"]),
        (["minilm", "--batch", "one"], ["whole numbers"]),
        (["minilm", "--batch", ""], ["whole numbers"]),
        (["minilm", "--length", ","], ["whole numbers"]),
        (["minilm", "--batch", "99999999999999999999"], ["--batch takes whole numbers from 1 to"]),
        (["minilm", "--seed", "-1"], ["--seed"]),
        (["minilm", "--dataset", ""], ["--dataset is empty"]),
        (["user/model", "--columns", "text=a"], ["give that too, with --dataset"]),
        ([""], ["name is empty"]),
        (["minilm", "--limit", "0"], ["--limit"]),
        (["minilm", "--rounds", "99"], ["--rounds takes 1 to 20"]),
        (["minilm", "--budget", "soon"], ["90s, 10m or 1h30m"]),
        (["minilm", "--accuracy-floor", "99"], ["share of the reference's score"]),
        (["minilm", "--columns", "text"], ["role=name"]),
        (["minilm", "--targets-dir", "nowhere"], ["no folder nowhere"]),
        (["--resume", "nowhere"], ["nowhere does not exist"]),
        ([], ["Which MODEL?"]),
    ],
)
def test_a_name_or_number_that_cannot_be_meant_is_refused_at_once(
    optibench: Optibench, tmp_path: Path, args: list[str], words: list[str]
) -> None:
    said = refused(optibench, "compare", *args, cwd=tmp_path)
    for word in words:
        assert word in said
    assert not (tmp_path / "optibench-runs").exists()


def test_a_hub_id_without_a_network_is_one_sentence_within_seconds(optibench: Optibench, tmp_path: Path) -> None:
    said = refused(
        optibench,
        "compare",
        "user/model",
        cwd=tmp_path,
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")},
        timeout=20,
    )
    assert "http://127.0.0.1:9 cannot be reached" in said


def test_a_hub_data_set_without_a_network_is_one_sentence_within_seconds(
    optibench: Optibench, tiny_classifier: Path, tmp_path: Path
) -> None:
    said = refused(
        optibench, "compare", tiny_classifier, "--dataset", "user/data", "--out", tmp_path / "run",
        env={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")},
        timeout=25,
    )  # fmt: skip
    assert "data set user/data cannot be read: http://127.0.0.1:9 cannot be reached" in said


def test_an_unknown_command_names_the_nearest(optibench: Optibench) -> None:
    assert "Did you mean compare?" in refused(optibench, "compair")


def test_a_folder_without_config_says_what_it_found(optibench: Optibench, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    assert "no config.json" in refused(optibench, "compare", tmp_path)


def test_json_that_is_nested_beyond_reading_is_called_damaged(optibench: Optibench, tmp_path: Path) -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    (tmp_path / "config.json").write_text(deep)
    assert "config.json of" in (said := refused(optibench, "compare", tmp_path))
    assert "cannot be read" in said
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    (tmp_path / "model.safetensors").write_bytes(len(deep).to_bytes(8, "little") + deep.encode())
    assert "model.safetensors is damaged: its header is garbled" in refused(optibench, "compare", tmp_path)


def test_a_config_that_is_not_json_is_named(optibench: Optibench, copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "config.json of model cannot be read" in refused(optibench, "compare", copy)


@pytest.mark.parametrize("keep", [4, 100, -1000])
def test_truncated_safetensors_are_refused_before_anything_is_built(
    optibench: Optibench, copy: Path, keep: int
) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    said = refused(optibench, "compare", copy)
    assert "model.safetensors is damaged" in said


def test_pickled_weights_are_refused_with_their_risk(optibench: Optibench, copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    said = refused(optibench, "compare", copy)
    assert "can run any code" in said
    assert "--allow-pickle" in said


def test_a_model_that_wants_remote_code_is_refused_with_its_risk(optibench: Optibench, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config.update(model_type="strange-bert", auto_map={"AutoModel": "modeling_strange.StrangeModel"})
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "modeling_strange.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    said = refused(optibench, "compare", copy)
    assert "--trust-remote-code" in said
    assert not (copy / "ran").exists()


def test_a_head_that_the_checkpoint_lacks_is_not_made_up_at_random(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "\n".join(f"good film,{n % 2}" for n in range(20)))
    said = refused(
        optibench, "compare", tiny_bert, "--task", "text-classification", "--dataset", data, "--out", tmp_path / "run",
        "--backends", "onnxruntime",
    )  # fmt: skip
    assert "no weights for classifier" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"review,verdict\n", "is empty"),
        (b"review,verdict\n\xff\xfe\xe9,good\n", "not UTF-8"),
        (b"one,two\na,b\n", "Its columns are: one, two"),
        (b"text,label\ngood film\n", "Line 2 has 1 field, the header 2"),
        (b"text,label\ngood film,\n", "Row 1"),
        (b"text,label\ngood film,excellent\n", "The model's labels: bad, good"),
        (b"text,label\ngood film,7\n", "The model's labels: bad, good"),
    ],
)
def test_data_that_cannot_judge_are_refused_with_what_is_wrong(
    optibench: Optibench, tiny_classifier: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    data = tmp_path / "data.csv"
    data.write_bytes(content)
    said = refused(optibench, "compare", tiny_classifier, "--dataset", data, "--out", tmp_path / "run")
    assert words in said
    assert not (tmp_path / "run").exists()


def test_columns_that_are_not_there_are_refused_with_those_that_are(
    optibench: Optibench, tiny_classifier: Path, reviews: Path, tmp_path: Path
) -> None:
    said = refused(
        optibench, "compare", tiny_classifier, "--dataset", reviews, "--columns", "text=revue,label=verdict",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert "no column 'revue'" in said
    assert "review, verdict" in said


def test_a_length_beyond_the_models_positions_is_refused(optibench: Optibench, tiny_bert: Path) -> None:
    assert "has 128 positions" in refused(optibench, "compare", tiny_bert, "--length", "129")


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_built(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "is a file" in refused(optibench, "compare", tiny_bert, "--out", tmp_path / "file" / "run")


def test_a_graphs_task_is_not_one_for_a_checkpoint(optibench: Optibench, tiny_bert: Path) -> None:
    assert "Unknown task for a checkpoint 'graph'" in refused(optibench, "compare", tiny_bert, "--task", "graph")


def test_an_error_after_the_folder_was_made_takes_nothing_of_the_users_away(
    optibench: Optibench, tiny_classifier: Path, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.log").write_text("mine")
    refused(optibench, "compare", tiny_classifier, "--dataset", "nothing.csv", "--out", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["logs", "mine.log"]


def test_a_run_is_never_overwritten(optibench: Optibench, tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("{}\n")
    assert "already holds a run" in refused(optibench, "compare", tiny_bert, "--out", tmp_path)
    assert (tmp_path / "records.jsonl").read_text() == "{}\n"


def test_a_full_disk_keeps_what_was_recorded(tiny_bert: Path, fake_target: FakeTarget, tmp_path: Path) -> None:
    """A limit on file size stands in for the disk: the write that crosses it fails as on a full one."""
    import os
    import subprocess
    import sys

    command = ["optibench", "compare", str(tiny_bert), "--targets", "pretend", "--targets-dir", str(fake_target())]
    command += ["--out", str(tmp_path / "run"), "--rounds", "3", "--length", "16"]
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from optibench import cli; import optibench.store as s; old = s.Run.append\n"
        "def append(self, record):\n"
        "    if record.round == 2: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "    old(self, record)\n"
        "s.Run.append = append\n"
        f"sys.argv = {command!r}\ncli.main()"
    )
    env = {**os.environ, "OPTIBENCH_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "disk is full" in done.stderr
    assert "--resume" in done.stderr
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert lines
    assert all(json.loads(line)["round"] == 1 for line in lines)


def test_a_cache_that_cannot_be_written_is_said_with_what_to_do(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    said = refused(
        optibench,
        "compare",
        tiny_bert,
        "--out",
        tmp_path / "run",
        env={"OPTIBENCH_CACHE": str(tmp_path / "file/cache")},
    )
    assert "OPTIBENCH_CACHE" in said


def test_a_cache_below_a_folder_that_cannot_be_made_is_said_with_what_to_do(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    said = refused(
        optibench, "compare", tiny_bert, "--out", tmp_path / "run", env={"OPTIBENCH_CACHE": "/proc/no/cache"}
    )
    assert "point OPTIBENCH_CACHE elsewhere" in said


def test_weights_that_are_not_in_the_file_are_not_made_up_at_random(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "encoder.layer.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    said = refused(optibench, "compare", folder, "--backends", "pytorch", "--out", tmp_path / "run", code=3)
    assert "has no weights for encoder.layer.1" in said


def test_a_broken_onnx_file_is_refused(optibench: Optibench, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"this is no graph")
    assert "broken.onnx is not an ONNX model" in refused(optibench, "compare", tmp_path / "broken.onnx")


def test_a_broken_openvino_file_is_refused(optibench: Optibench, tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<net>")
    assert "broken.xml is not an OpenVINO model" in refused(optibench, "compare", tmp_path / "broken.xml")


@pytest.mark.slow
def test_an_architecture_that_an_exporter_cannot_trace_is_a_failed_case_and_the_others_run(
    optibench: Optibench, tmp_path: Path
) -> None:
    """Reformer's code loops over rows, and asks the data how far its positions reach."""
    from tests.coverage.zoo import ZOO

    folder = ZOO["Reformer"].write(tmp_path / "reformer")
    done = optibench(
        "compare", folder, "--backends", "pytorch,onnxruntime", "--precisions", "fp32", "--out", tmp_path / "run",
        "--rounds", "1", "--budget", "5s", "--length", "16",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {case["case"]: case for case in json.loads((tmp_path / "run/comparison.json").read_text())["cases"]}
    assert found["cpu/pytorch/fp32"]["status"] == "ok"
    assert found["cpu/onnxruntime/fp32"]["status"] == "failed"
    assert "The onnx exporter cannot export this model" in found["cpu/onnxruntime/fp32"]["reason"]


def test_a_missing_extra_skips_the_case_with_the_pip_line(
    optibench: Optibench, tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'openvino' else found(name, *a)\n"
    )
    done = optibench("compare", tiny_bert, "--dry-run", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "openvino is not installed: pip install 'optibench[openvino]'" in done.stdout


def test_hostile_names_are_shown_as_text(optibench: Optibench, tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "[red]x[/red]\x1b[31m<script>", "BertModel")
    done = optibench("compare", folder, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
