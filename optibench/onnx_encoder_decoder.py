"""A model with an encoder run by ONNX Runtime, as two graphs (encoder_decoder.py). What the encoder makes stays in the
runtime's own memory, and so does the decoder's past."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.onnxruntime import PROVIDER, ONNXRuntimeSession, executed_from_profile, on_cpu, profiled
from optibench.encoder_decoder import Sources, part_file
from optibench.generation_rules import PROMPT
from optibench.onnx_decoder import ONNXDecoder
from optibench.values import Executed

if TYPE_CHECKING:
    import numpy


class ONNXEncoderDecoder(ONNXDecoder):
    """The decoder's graph; the encoder's lies beside it."""

    def __init__(self, path: Path, threads: int, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, threads, options)
        self.encoder = ONNXRuntimeSession(part_file(path.parent, "onnx", "encode"), threads, options)
        self.passed_on = [name for name in self.encoder.outputs if name in self.inputs]

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        return Sources(self.encoder.feed(inputs), self._declared(inputs), inputs[PROMPT])

    def call(self, inputs: Any) -> Any:
        return self.start(inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return {"logits": outputs}

    def start(self, inputs: Any) -> numpy.ndarray:
        self._encode(inputs)
        return self._next({PROMPT: inputs.prompt}, self._nothing(len(inputs.prompt)))

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        return self._next({PROMPT: tokens[:, None]}, self.kept)

    def cache_bytes(self) -> int:
        """The past of the decoder, and what it looks up of the encoder's."""
        of_encoder: int = sum(self.given[name].tensor_size_in_bytes() for name in self.passed_on)
        return super().cache_bytes() + of_encoder

    def executed(self, inputs: Any) -> Executed:
        encoding = profiled(lambda prefix: on_cpu(self.encoder.path, self._settings(), prefix), inputs.encode)
        self._encode(inputs)
        past = dict(zip(self.pasts, self._nothing(len(inputs.prompt)), strict=True))
        kept = {name: value.numpy() for name, value in {**self.given, **past}.items()}
        feed = {**kept, **self._declared({PROMPT: inputs.prompt})}
        decoding = profiled(lambda prefix: on_cpu(self.path, self._settings(), prefix), feed)
        return executed_from_profile([*encoding, *decoding], PROVIDER, self.threads)

    def _encode(self, inputs: Sources) -> None:
        import onnxruntime

        def values(arrays: Mapping[str, numpy.ndarray]) -> dict[str, Any]:
            return {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}

        made = self.encoder.session.run_with_ort_values(self.passed_on, values(inputs.encode))
        given = {name: array for name, array in inputs.decode.items() if name != PROMPT}
        self.given = {**values(given), **dict(zip(self.passed_on, made, strict=True))}
