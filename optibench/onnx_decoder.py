"""A decoder's graph run by ONNX Runtime. Keys and values stay in the runtime's own memory between calls (OrtValue):
what one call gives is what the next takes, and is never copied to numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.onnxruntime import ONNXRuntimeSession
from optibench.decoding import Place, Prompts, prompts_from

if TYPE_CHECKING:
    import numpy

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(bool)": "bool"}


class ONNXDecoder(ONNXRuntimeSession):
    """A graph whose inputs ``input.NAME`` are what its outputs ``output.NAME`` were the call before."""

    def __init__(self, path: Path, threads: int, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, threads, options)
        self.pasts = [f"input.{name}" for output in self.outputs if (name := output.removeprefix("output.")) != output]
        self.kept: list[Any] = []
        self.given: dict[str, Any] = {}  # what every call takes as it is: of an encoder, where there is one

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        return prompts_from(inputs)

    def call(self, inputs: Any) -> Any:
        return self._run(inputs.inputs(every=True), self._nothing(len(inputs.ids)))[:1]

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return {"logits": outputs[0].numpy()}

    def start(self, inputs: Prompts) -> numpy.ndarray:
        self.place = Place(inputs)
        return self._next(inputs.inputs(), self._nothing(self.place.rows))

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        return self._next(self.place.following(tokens), self.kept)

    def cache_bytes(self) -> int:
        return sum(value.tensor_size_in_bytes() for value in self.kept)

    def executed(self, inputs: Any) -> Any:
        past = {name: value.numpy() for name, value in zip(self.pasts, self._nothing(len(inputs.ids)), strict=True)}
        return super().executed({**self._declared(inputs.inputs()), **past})

    def _next(self, arrays: Mapping[str, numpy.ndarray], past: list[Any]) -> numpy.ndarray:
        logits, *self.kept = self._run(arrays, past)
        last: numpy.ndarray = logits.numpy()[:, -1]
        return last

    def _run(self, arrays: Mapping[str, numpy.ndarray], past: list[Any]) -> list[Any]:
        """The logits, and what is kept, in the order of ``pasts``."""
        import onnxruntime

        made = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in self._declared(arrays).items()}
        names = ["logits", *(f"output.{name.removeprefix('input.')}" for name in self.pasts)]
        feed = {**self.given, **made, **dict(zip(self.pasts, past, strict=True))}
        found: list[Any] = self.session.run_with_ort_values(names, feed)
        return found

    def _declared(self, arrays: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        import numpy as np

        return {name: np.ascontiguousarray(array) for name, array in arrays.items() if name in self.inputs}

    def _nothing(self, rows: int) -> list[Any]:
        """The cache before anything was seen: no token in any row."""
        import numpy as np
        import onnxruntime

        made = []
        for name in self.pasts:
            declared = self.inputs[name]
            # The rows and the length are free, the heads and their width are not.
            shape = [
                rows if axis == 0 else size if isinstance(size, int) else 0 for axis, size in enumerate(declared.shape)
            ]
            made.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, TYPES[declared.type])))
        return made
