"""Targets as files, and machines as text: what fits, and what a wrong file is told."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from optibench import host, plugins, targets
from optibench.errors import OptibenchError
from tests import factories

SAPPHIRE = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx2 fma f16c avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8 hypervisor
"""
GRAVITON = """processor\t: 0
Features\t: fp asimd asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""
GOOD = 'name = "mine"\ndescription = "d"\ndevice = "cpu"\nprecisions = ["fp32"]\n[backends]\npytorch = ["fp32"]\n'


def write(folder: Path, text: str, name: str = "mine") -> Path:
    (folder / f"{name}.toml").write_text(text)
    return folder


def test_the_built_in_targets_are_those_that_are_promised() -> None:
    promised = "cpu cpu-intel cpu-amd cpu-arm gpu-intel npu-intel apple qnn cuda cuda-hopper cuda-ada"
    promised += (
        " cuda-t4 cuda-a10 cuda-a100 cuda-l4 cuda-l40s cuda-h100 cuda-h200 cuda-b200 cuda-rtx40 cuda-rtx50 cuda-orin"
    )
    assert set(promised.split()) <= set(targets.load())


def test_the_cpus_default_cases_are_the_contracts() -> None:
    assert targets.load()["cpu"].backends == {
        "pytorch": ("fp32", "bf16"),
        "onnxruntime": ("fp32", "int8-dynamic", "int8"),
        "openvino": ("fp32", "bf16", "int8", "int8-weights"),
    }


def test_a_users_folder_adds_targets_and_takes_the_place_of_ours(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("mine", "cpu"), "cpu")
    found = targets.load(tmp_path)
    assert found["mine"].backends == {"pytorch": ("fp32",)}
    assert found["cpu"].description == "d"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("device", "devise"), "unknown key 'devise'. Did you mean device"),
        ("open_limit_seconds = 0\n" + GOOD, "open_limit_seconds"),
        (GOOD + "[macth]\n", "unknown key 'macth'. Did you mean match"),
        (GOOD + '[match]\nvender = "x"\n', "unknown key of .match. 'vender'. Did you mean vendor"),
        (GOOD.replace("pytorch =", "pytorc ="), "unknown backend 'pytorc'. Did you mean pytorch"),
        (GOOD.replace('precisions = ["fp32"]', 'precisions = ["fp31"]'), "unknown precision 'fp31'"),
        (GOOD.replace('"cpu"', '"gpu"'), "device"),
        (GOOD.replace('["fp32"]\n[', "3\n["), "precisions"),
        (GOOD.replace('"mine"', '"yours"'), "the name must be the file's"),
        (GOOD + '[match]\ngpu = "amd"\n', "unknown gpu of .match. 'amd'.*Known: nvidia"),
        (GOOD + "[match]\narch = 5\n", "arch of .match. must be a text"),
        ("match = 5\n" + GOOD, "match must be a table"),
        (GOOD + "[options]\nonnxruntime = 3\n", "options"),
        ("name = ", "not valid TOML"),
        (f"name = {'[' * 5000}{']' * 5000}", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong_and_what_is_known(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(OptibenchError, match=words) as caught:
        targets.load(write(tmp_path, text))
    assert "mine.toml" in str(caught.value)


def test_a_worker_starts_with_as_many_threads_as_it_may_use() -> None:
    assert targets.environment(targets.load()["cpu"], 3)["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("name", "gpus", "fits"),
    [
        ("cuda", (), False),
        ("cuda", ("Tesla T4",), True),
        ("cuda", ("Intel GPU",), False),
        ("cuda-hopper", ("NVIDIA H100 80GB HBM3",), True),
        ("cuda-hopper", ("NVIDIA A100-SXM4-80GB",), False),
        ("cuda-ada", ("NVIDIA GeForce RTX 4090",), True),
        ("cuda-l4", ("NVIDIA L4",), True),
        ("cuda-l4", ("NVIDIA L40S",), False),
        ("cuda-a10", ("NVIDIA A100-SXM4-80GB",), False),
        ("cuda-a100", ("NVIDIA A100-SXM4-80GB",), True),
        ("cuda-rtx50", ("NVIDIA GeForce RTX 5090",), True),
        ("gpu-intel", ("Intel GPU",), True),
        ("gpu-intel", ("Intel NPU",), False),
        ("npu-intel", ("Intel NPU",), True),
        ("qnn", ("Qualcomm NPU",), True),
        ("qnn", ("Intel NPU",), False),
        ("cuda", ("Qualcomm NPU",), False),
    ],
)
def test_a_machine_fits_a_target_or_is_told_why_not(name: str, gpus: tuple[str, ...], fits: bool) -> None:
    why = targets.mismatch(targets.load()[name], factories.host(gpus=gpus))
    assert (why is None) == fits, why


def test_a_target_of_another_system_says_which_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    said = targets.mismatch(targets.load()["apple"], factories.host())
    assert said == "this machine runs Linux, the target is for Darwin"


@pytest.mark.parametrize("name", ["apple", "qnn"])
def test_a_provider_that_is_not_installed_is_named_with_the_pip_line(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optibench import accelerators
    from optibench.backends import onnxruntime

    monkeypatch.setattr(accelerators, "version_of", lambda wheel: None)
    said = onnxruntime.probe(targets.load()[name])
    assert said is not None
    assert "Provider: pip " in said


def test_processors_are_read_from_what_the_kernel_says() -> None:
    name, isa = host.cpu_from_text(SAPPHIRE)
    assert name.startswith("Intel(R) Xeon(R) Platinum 8481C")
    assert {"avx512_vnni", "amx_int8", "amx_bf16"} <= set(isa)
    assert host.vendor_from_text(SAPPHIRE) == "GenuineIntel"
    assert host.cpu_from_text(GRAVITON) == ("ARM part 0xd40", ("asimd", "asimddp", "i8mm", "bf16", "sve"))
    assert host.cpu_from_text("") == ("", ())


@pytest.mark.parametrize(
    ("files", "own", "wanted"),
    [
        (
            {"a/b/cpu.max": "150000 100000", "a/memory.max": "1000000"},
            "0::/a/b",
            {"cpus": 1.5, "memory_bytes": 1000000},
        ),
        ({"a/cpu.max": "max 100000", "cpu.max": "max 100000"}, "0::/a", {}),
        (
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "50000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/x",
            {"cpus": 0.5},
        ),
        ({"memory/x/memory.limit_in_bytes": "9223372036854771712"}, "5:memory:/x", {}),
        ({}, "", {}),
    ],
)
def test_the_tightest_limit_of_the_cgroups_counts(
    tmp_path: Path, files: dict[str, str], own: str, wanted: dict[str, float]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert host.cgroup_limits(tmp_path, own) == wanted


def test_this_machine_is_described() -> None:
    here = host.describe()
    assert here.cores >= 1
    assert here.memory_bytes > 0
    assert here.packages["optibench"]
    assert 1 <= host.usable_cores() <= here.cores


def test_every_runtime_that_is_installed_is_in_a_record_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the backends' own word, a stranger's too; one that cannot be imported hinders nothing."""
    asked = set(host.packages())
    for name in plugins.names("backend"):
        assert set(plugins.load("backend", name).RUNTIME) <= asked, name
    assert {"tensorrt", "onnxruntime-gpu", "cuda-bindings", "torch", "numpy"} <= asked
    assert host.describe().packages == {name: v for name in asked if (v := host.version_of(name)) is not None}

    def load(kind: str, name: str) -> ModuleType:
        raise OptibenchError("it cannot be imported")

    monkeypatch.setattr(plugins, "load", load)
    assert "torch" not in host.packages.__wrapped__()
