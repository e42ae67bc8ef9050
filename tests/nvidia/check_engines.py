"""Engines built for real by TensorRT-RTX, which needs no GPU to build: architectures, options, and what goes wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from optibench import targets
from optibench.errors import CaseFailed, OptibenchError
from optibench.nvidia import engine
from optibench.nvidia.bindings import RTX, TENSORRT
from optibench.nvidia.engine import EngineOptions, Profile, Range, build_engine, options_of
from optibench.tensorrt_graphs import BLOCKS
from optibench.tensorrt_graphs import write as write_graph
from tests.nvidia import coverage, stubs
from tests.nvidia.check_types import exists, names_used
from tests.nvidia.zoo import ZOO, Architecture, Arrays

LEAST = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.97, "fp8": 0.97}
"""What a precision must keep; a graph whose Q/DQ is wrong keeps next to nothing."""
QUICK = 2
"""So many architectures are built in the short form (-m "not slow")."""
SIZES = {"x": Range(least=(1, 4), best=(2, 4), most=(8, 4))}


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, id=a.name, marks=[] if n < QUICK else [pytest.mark.slow]) for n, a in enumerate(ZOO)],
)
def test_an_architecture_is_built_in_every_precision_and_stays_accurate(
    architecture: Architecture, tmp_path: Path
) -> None:
    found = coverage.built(architecture, tmp_path)
    lacking = {precision: one.reason for precision, one in found.items() if one.reason}
    assert tuple(lacking) == architecture.lacks, lacking
    assert all("nothing in this model can be" in reason for reason in lacking.values())
    least = LEAST | {"int4-weights": architecture.int4_cosine}
    assert [(p, one.cosine) for p, one in found.items() if not one.reason and one.cosine < least[p]] == []
    cells = coverage.documented()[architecture.name]
    assert [same(cell, coverage.cell_of(one)) for cell, one in zip(cells, found.values(), strict=True)] == [True] * 5


def same(documented: str, found: str) -> bool:
    """Whether a cell is what was found here: other processors round otherwise, and quantizers with them."""
    if not documented.startswith("built, "):
        return documented == found
    return found.startswith("built, ") and abs(float(documented[7:]) - float(found[7:])) < 0.05


def test_the_documented_table_has_every_architecture() -> None:
    assert list(coverage.documented()) == [architecture.name for architecture in ZOO]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Profile, list[Arrays]]:
    """The first architecture's export, a profile for it, and calibration samples."""
    return coverage.exported(ZOO[0], tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize(("precision", "oldest"), [("fp8", 8.9), ("int4-weights", 8.0)])
def test_eight_bit_floats_and_four_bit_weights_are_built_for_every_card_that_has_them(
    encoder: tuple[Path, Profile, list[Arrays]], tmp_path: Path, precision: str, oldest: float
) -> None:
    import tensorrt_rtx_bindings as trt

    source, profile, samples = encoder
    write_graph(source, tmp_path / "model.onnx", precision, samples)
    capabilities = [f"{name[2:-1]}.{name[-1]}" for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    able = [capability for capability in capabilities if float(capability) >= oldest]
    assert able
    for capability in able:
        options = EngineOptions(compute_capability=capability)
        assert build_engine(RTX, tmp_path / "model.onnx", [profile], options), capability


@pytest.mark.parametrize("precision", ["fp8", "int4-weights"])
def test_only_weights_and_inputs_of_matrix_products_are_quantized_and_the_types_are_tensorrts(
    encoder: tuple[Path, Profile, list[Arrays]], tmp_path: Path, precision: str
) -> None:
    import onnx_ir as ir

    source, _, samples = encoder
    write_graph(source, tmp_path / "model.onnx", precision, samples)
    graph = ir.load(tmp_path / "model.onnx").graph
    kinds = {"fp8": ir.DataType.FLOAT8E4M3FN, "int4-weights": ir.DataType.INT4}
    dequantized = [node for node in graph if node.op_type == "DequantizeLinear"]
    assert {node.inputs[0].dtype for node in dequantized} == {kinds[precision]}
    users = {user.op_type for node in dequantized for user, _ in node.outputs[0].uses()}
    assert users <= {"MatMul", "Gemm", "Reshape", "Transpose"}
    if precision == "int4-weights":
        assert {node.attributes["block_size"].as_int() for node in dequantized} <= set(BLOCKS)
        assert all(len(node.inputs) == 2 for node in dequantized)  # TensorRT knows no zero point


def test_every_name_that_is_used_exists_in_tensorrt_rtx() -> None:
    import tensorrt_rtx_bindings

    assert not [name for name in sorted(names_used()) if not exists(tensorrt_rtx_bindings, name)]


def test_mypy_finds_every_call_right_for_tensorrt_rtx(tmp_path: Path) -> None:
    module = "tensorrt_rtx_bindings"
    made = stubs.stubs_from_bindings(f"{module}.tensorrt_rtx", module, tmp_path, {})
    package = stubs.typed_copy(tmp_path, module, ahead_of_time=True)
    assert stubs.mypy(package, made, tmp_path, module).startswith("Success")


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path, "Relu", "relu")


def write(folder: Path, operator: str, name: str, domain: str = "", kinds: tuple[int, int] = (1, 1)) -> Path:
    """A graph of one node over x (any number of rows of 4)."""
    import onnx
    from onnx import helper as h

    inputs = [h.make_tensor_value_info("x", kinds[0], ["rows", 4])]
    if operator == "Add":
        inputs.append(h.make_tensor_value_info("z", kinds[1], ["rows", 4]))
    node = h.make_node(operator, [i.name for i in inputs], ["y"], name, domain=domain)
    made = h.make_graph([node], "g", inputs, [h.make_tensor_value_info("y", kinds[0], ["rows", 4])])
    opsets = [h.make_opsetid("", 17), *([h.make_opsetid(domain, 1)] if domain else [])]
    path = folder / "model.onnx"
    onnx.save(h.make_model(made, opset_imports=opsets, ir_version=9), path)
    return path


def test_an_operator_that_is_unknown_is_told_with_its_nodes_name(tmp_path: Path) -> None:
    with pytest.raises(CaseFailed, match=r"cannot read the node 'odd_one' \(NoSuchOp\)"):
        build_engine(RTX, write(tmp_path, "NoSuchOp", "odd_one", "my.domain"), [SIZES], EngineOptions())


def test_mixed_types_are_refused_in_tensorrts_words(tmp_path: Path) -> None:
    both = {**SIZES, "z": SIZES["x"]}
    with pytest.raises(CaseFailed, match="TensorRT-RTX cannot"):
        build_engine(RTX, write(tmp_path, "Add", "mixed", kinds=(1, 10)), [both], EngineOptions())


@pytest.mark.parametrize("content", [b"", b"no graph" * 40])
def test_a_file_that_is_no_graph_is_told_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CaseFailed, match="TensorRT-RTX cannot"):
        build_engine(RTX, tmp_path / "model.onnx", [SIZES], EngineOptions())


def test_a_file_that_is_missing_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CaseFailed, match="TensorRT-RTX cannot"):
        build_engine(RTX, tmp_path / "none.onnx", [SIZES], EngineOptions())


@pytest.mark.parametrize("options", [{"builder_level": 0}, {"workspace_mib": 64}, {"hardware": "ampere-plus"}])
def test_options_of_a_target_reach_the_builder(graph: Path, options: dict[str, object]) -> None:
    assert build_engine(RTX, graph, [SIZES], EngineOptions(**options))  # type: ignore[arg-type]


def test_how_far_a_build_is_is_told_while_it_goes_on(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TELL_SECONDS", 0.0)
    said: list[str] = []
    assert build_engine(RTX, graph, [SIZES], EngineOptions(), say=said.append)
    assert said
    assert all(re.fullmatch(r"building the engine: .+, \d+ of \d+", text) for text in said)


def test_an_engine_holds_a_profile_for_each_shape_that_is_timed(graph: Path) -> None:
    other = {"x": Range(least=(1, 4), best=(8, 4), most=(8, 4))}
    assert build_engine(RTX, graph, [SIZES, other], EngineOptions(compute_capability="12.0"))


def test_shapes_that_the_graph_does_not_have_are_refused(graph: Path) -> None:
    with pytest.raises(CaseFailed, match="fixes the axis 1 of 'x' at 4"):
        build_engine(RTX, graph, [{"x": Range(least=(1, 1), best=(1, 3), most=(8, 3))}], EngineOptions())


def test_a_compute_capability_that_is_not_built_for_is_told_with_those_that_are(graph: Path) -> None:
    with pytest.raises(CaseFailed, match=r"no card of compute capability 9\.9, only for .*8\.9"):
        build_engine(RTX, graph, [SIZES], EngineOptions(compute_capability="9.9"))


def test_what_needs_a_library_that_is_missing_is_told_in_tensorrts_words(graph: Path) -> None:
    with pytest.raises(CaseFailed, match="libnvinfer_lean"):
        build_engine(RTX, graph, [SIZES], EngineOptions(version_compatible=True))


def test_every_target_that_names_a_capability_names_one_that_is_built_for(graph: Path) -> None:
    named = {options_of(target, RTX).compute_capability for target in targets.load().values()} - {""}
    assert named
    for capability in named:
        assert build_engine(RTX, graph, [SIZES], EngineOptions(compute_capability=capability))


@pytest.mark.parametrize(
    "precision",
    ["int8", pytest.param("fp8", marks=pytest.mark.slow), pytest.param("int4-weights", marks=pytest.mark.slow)],
)
def test_export_writes_an_engine_without_a_gpu_and_a_readme_that_runs_up_to_the_driver(
    tmp_path: Path, tiny_bert: Path, cache_root: Path, precision: str
) -> None:
    import os

    command = [sys.executable, "-m", "optibench.cli", "export", str(tiny_bert), "--backend", "tensorrt-rtx"]
    done = subprocess.run(
        [*command, "--target", "cuda-ada", "--precision", precision, "--out", str(tmp_path / "out")],
        env={**os.environ, "OPTIBENCH_CACHE": str(cache_root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    readme = (tmp_path / "out" / "README.md").read_text()
    assert "compute capability 8.9" in readme
    assert "`input_ids`: [1, 1] to" in readme
    (lines,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    ran = subprocess.run([sys.executable, "-c", lines], cwd=tmp_path / "out", capture_output=True, text=True)
    # Everything before the GPU works; what fails without a driver is the engine's opening, in CUDA's words.
    assert "the log above says why" in ran.stderr, ran.stderr
    assert "CUDA" in ran.stderr + ran.stdout


def test_options_that_are_unknown_are_told_with_those_that_are_known() -> None:
    import msgspec

    ada = targets.load()["cuda-ada"]
    wrong = msgspec.structs.replace(ada, options={"tensorrt": {"builder_levle": 3}})
    with pytest.raises(OptibenchError, match=r"builder_levle.*Known: builder_level"):
        options_of(wrong, TENSORRT)
    wrong = msgspec.structs.replace(ada, options={"tensorrt": {"compute_capability": "8.9"}})
    with pytest.raises(OptibenchError, match="Only tensorrt-rtx builds for another"):
        options_of(wrong, TENSORRT)
