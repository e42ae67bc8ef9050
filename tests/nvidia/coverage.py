"""Which architectures TensorRT-RTX parses and builds, in which precisions; ``python -m tests.nvidia.coverage`` writes
the table in docs/gpu.md. Accuracy is ONNX Runtime's on the CPU, of the very files that engines are built of."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optibench.nvidia.engine import Profile
from tests.nvidia.zoo import ZOO, Architecture, Arrays

PRECISIONS = ("fp32", "fp16", "int8", "fp8", "int4-weights")
DOCS = Path(__file__).parent.parent.parent / "docs" / "gpu.md"
MARKS = ("<!-- coverage -->", "<!-- /coverage -->")
SAMPLES = 64
SMALLEST, BEST, LARGEST, OTHER = (1, 4), (2, 16), (8, 32), (3, 11)


@dataclass(frozen=True)
class Built:
    """One engine: its bytes, or why there is none; and its graph's cosine to fp32 PyTorch on another shape."""

    engine_bytes: int
    reason: str
    cosine: float


def exported(architecture: Architecture, folder: Path) -> tuple[Path, Profile, list[Arrays]]:
    """The architecture's fp32 graph in ``folder``, a profile for it, and calibration samples."""
    import torch
    from transformers.exporters import OnnxConfig, OnnxExporter

    from optibench.nvidia.engine import Range

    rng = np.random.default_rng(0)
    traced = architecture.arguments(architecture.inputs(2, 9, rng))
    with torch.no_grad():
        OnnxExporter().export(architecture.module(), traced, OnnxConfig(dynamic=True)).save_pretrained(folder)
    least, best, most = (architecture.inputs(*size, rng) for size in (SMALLEST, BEST, LARGEST))
    profile = {name: Range(least=least[name].shape, best=best[name].shape, most=most[name].shape) for name in best}
    samples = [
        # The quantizer names a cache's tensors as the module does, without the exporter's prefix.
        {name.removeprefix("input."): array for name, array in architecture.inputs(1, 16, rng).items()}
        for _ in range(SAMPLES)
    ]
    return folder / "model.onnx", profile, samples


def built(architecture: Architecture, folder: Path) -> dict[str, Built]:
    """The architecture exported, made into each precision, judged, and built for compute capability 8.9."""
    import torch

    from optibench.errors import OptibenchError
    from optibench.nvidia.bindings import RTX
    from optibench.nvidia.engine import EngineOptions, build_engine
    from optibench.tensorrt_graphs import write

    source, profile, samples = exported(architecture, folder / "fp32")
    asked = architecture.inputs(*OTHER, np.random.default_rng(1))
    with torch.no_grad():
        answers = architecture.module()(**architecture.arguments(asked)).values()
        wanted = next(answer for answer in answers if isinstance(answer, torch.Tensor))
    found = {}
    for precision in PRECISIONS:
        file = folder / precision / "model.onnx"
        file.parent.mkdir(exist_ok=True)
        try:
            if precision != "fp32":
                write(source, file, precision, samples)
            cosine = cosine_of(answer(file, asked), wanted.numpy())
            engine = build_engine(RTX, file, [profile], EngineOptions(compute_capability="8.9"))
            found[precision] = Built(len(engine), "", cosine)
        except OptibenchError as error:
            found[precision] = Built(0, str(error), float("nan"))
    return found


def answer(file: Path, arrays: Arrays) -> np.ndarray:
    """The graph's first output, by ONNX Runtime on the CPU."""
    from optibench.backends.onnxruntime import run_file

    return run_file(file, arrays)[0]


def cosine_of(mine: np.ndarray, theirs: np.ndarray) -> float:
    a, b = mine.ravel().astype(float), theirs.ravel().astype(float)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def said(reason: str) -> str:
    """A reason as short as a cell."""
    return reason.rpartition(": ")[2].rstrip(".")


def cell_of(built: Built) -> str:
    return f"built, {built.cosine:.4f}" if built.engine_bytes else f"no: {said(built.reason)}"


def table(results: dict[str, dict[str, Built]]) -> str:
    lines = ["| architecture | " + " | ".join(PRECISIONS) + " |", "|---|" + "---|" * len(PRECISIONS)]
    for name, found in results.items():
        lines.append(f"| {name} | " + " | ".join(map(cell_of, found.values())) + " |")
    return "\n".join(lines)


def documented() -> dict[str, list[str]]:
    """The cells that stand in docs/gpu.md, by architecture."""
    text = DOCS.read_text().split(MARKS[0])[1].split(MARKS[1])[0]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.strip().splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def main() -> None:
    results = {}
    for architecture in ZOO:
        with tempfile.TemporaryDirectory() as folder:
            results[architecture.name] = built(architecture, Path(folder))
        print(table({architecture.name: results[architecture.name]}).splitlines()[-1], file=sys.stderr, flush=True)
    text = DOCS.read_text()
    inside = f"{MARKS[0]}\n{table(results)}\n{MARKS[1]}"
    DOCS.write_text(re.sub(f"{MARKS[0]}.*{MARKS[1]}", lambda match: inside, text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
