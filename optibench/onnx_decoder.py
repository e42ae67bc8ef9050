"""A decoder's graph run by ONNX Runtime. Keys and values stay in the runtime's own memory between calls (OrtValue):
what one call gives is what the next takes, and is never copied to numpy. Where the graph can (onnx_attention.py), new
ones are written in place, into room that is doubled when it is full."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.onnxruntime import ONNXRuntimeSession
from optibench.decoding import Place, Prompts, prompts_from
from optibench.onnx_attention import IN_PLACE

if TYPE_CHECKING:
    import numpy

TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64", "tensor(bool)": "bool"}


class ONNXDecoder(ONNXRuntimeSession):
    """A graph whose inputs ``input.NAME`` are what its outputs ``output.NAME`` were the call before."""

    def __init__(self, path: Path, threads: int, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, threads, options)
        self.pasts = [f"input.{name}" for output in self.outputs if (name := output.removeprefix("output.")) != output]
        self.in_place = set(self.session.get_modelmeta().custom_metadata_map.get(IN_PLACE, "").split())
        self.room = 0  # tokens, of those in place
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
        self.room = max(self.room, 2 * self.place.length)
        return self._next(inputs.inputs(), self._nothing(self.place.rows, self.room))

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        arrays = self.place.following(tokens)
        if self.place.length > self.room:
            self._double_room()
        return self._next(arrays, self.kept)

    def cache_bytes(self) -> int:
        """Of the tokens that there are: room for more is left out."""
        sizes = [(name, value.tensor_size_in_bytes()) for name, value in zip(self.pasts, self.kept, strict=True)]
        return sum(size * self.place.length // self.room if name in self.in_place else size for name, size in sizes)

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

        given = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in self._declared(arrays).items()
        }
        binding = self.session.io_binding()
        for name, value in (*self.given.items(), *given.items(), *zip(self.pasts, past, strict=True)):
            binding.bind_ortvalue_input(name, value)
        binding.bind_output("logits")
        for name, value in zip(self.pasts, past, strict=True):
            output = f"output.{name.removeprefix('input.')}"
            if self._has_room(name, value):
                binding.bind_ortvalue_output(output, value)
            else:
                binding.bind_output(output)
        self.session.run_with_iobinding(binding)
        logits, *made = binding.get_outputs()
        # What was given is kept where it was written to: what is got back does not own the memory.
        both = zip(self.pasts, past, made, strict=True)
        return [logits, *(old if self._has_room(name, old) else new for name, old, new in both)]

    def _has_room(self, name: str, past: Any) -> bool:
        return name in self.in_place and past.shape()[2] > 0

    def _declared(self, arrays: Mapping[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
        import numpy as np

        return {name: np.ascontiguousarray(array) for name, array in arrays.items() if name in self.inputs}

    def _nothing(self, rows: int, room: int = 0) -> list[Any]:
        """The cache before anything was seen: no token in any row. ``room``: for how many, of those in place."""
        import onnxruntime

        return [onnxruntime.OrtValue.ortvalue_from_numpy(self._zeros(name, rows, room)) for name in self.pasts]

    def _zeros(self, name: str, rows: int, room: int) -> numpy.ndarray:
        import numpy as np

        declared, length = self.inputs[name], room if name in self.in_place else 0
        # The rows and the length are free, the heads and their width are not, though some graphs name a size ("64").
        # A number has no axis at all.
        shape = [
            rows if axis == 0 else int(size) if str(size).isdigit() else length
            for axis, size in enumerate(declared.shape)
        ]
        return np.zeros(shape, TYPES[declared.type])

    def _double_room(self) -> None:
        import onnxruntime

        full, self.room = self.room, 2 * self.room
        for number, name in enumerate(self.pasts):
            if name in self.in_place:
                # Its memory is the array's, which the OrtValue holds: a view of another's would not last.
                larger = self._zeros(name, self.place.rows, self.room)
                larger[:, :, :full] = self.kept[number].numpy()
                self.kept[number] = onnxruntime.OrtValue.ortvalue_from_numpy(larger)
