"""Q/DQ by NVIDIA's Model Optimizer, which lives in an environment of its own (tools.py): both ends of one call.

``quantized`` runs this very file by that environment's Python, which sees nothing of this one; what it writes is read
back. So nothing but the standard library may be imported at the top.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy
    import onnx_ir as ir

    Arrays = Mapping[str, numpy.ndarray]

SETTINGS: dict[str, Any] = {
    # Its fp16 conversion lets a mask's -3.4e38 become -inf, and Q/DQ within attention costs accuracy where channels
    # have outliers: so the rest stays fp32 for floats.py, and Q/DQ is put at matrix products and convolutions alone.
    "calibration_eps": ["cpu"],
    "high_precision_dtype": "fp32",
    "op_types_to_quantize": ["Conv", "Gemm", "MatMul"],
    "disable_mha_qdq": True,
}


def quantized(source: Path, precision: str, samples: Sequence[Arrays], python: Path) -> ir.Model:
    """The graph with modelopt's Q/DQ, the rest in fp32. Raises CaseFailed with modelopt's own last words."""
    import onnx_ir

    from optibench.arrays import save
    from optibench.errors import CaseFailed
    from optibench.qdq import folded_transposes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx_ir.save(folded_transposes(onnx_ir.load(source)), folder / "in.onnx", external_data="in.onnx.data")
        save(folder / "samples.npz", samples)
        request = {"folder": name, "mode": precision, "settings": SETTINGS}
        command = [str(python), "-I", __file__, json.dumps(request)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        print(done.stdout, done.stderr, file=sys.stderr)  # noqa: T201 (into the builder's log)
        if done.returncode:
            words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise CaseFailed(f"modelopt cannot quantize this model: {words[-1] if words else 'it gave no reason'}")
        model = onnx_ir.load(folder / "out.onnx")
        onnx_ir.external_data.load_to_model(model)  # the folder goes
        return model


# In modelopt's environment


def main() -> None:
    """``python -I modelopt_driver.py REQUEST``: quantizes in.onnx of the request's folder to out.onnx."""
    import numpy
    from modelopt.onnx.quantization import quantize
    from onnxruntime.quantization import CalibrationDataReader

    request = json.loads(sys.argv[1])
    folder = Path(request["folder"])

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # no type information
        """Each sample in its own length: what dictionaries of arrays, which modelopt would take too, cannot hold."""

        def __init__(self) -> None:
            with numpy.load(folder / "samples.npz", allow_pickle=False) as stored:
                found: dict[int, dict[str, Any]] = {}
                for key in stored.files:
                    index, _, name = key.partition("/")
                    found.setdefault(int(index), {})[name] = stored[key]
            self.batches = [found[index] for index in sorted(found)]
            self.rewind()

        def get_first(self) -> dict[str, Any]:
            return self.batches[0]

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

        def rewind(self) -> None:
            self.left = iter(self.batches)

    samples = Samples()
    shapes = ",".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in samples.get_first().items())
    quantize(
        str(folder / "in.onnx"),
        quantize_mode=request["mode"],
        calibration_data_reader=samples,
        calibration_shapes=shapes,
        output_path=str(folder / "out.onnx"),
        use_external_data_format=True,
        **request["settings"],
    )


if __name__ == "__main__":
    main()
