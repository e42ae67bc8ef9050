"""A model with an encoder run by OpenVINO, as two graphs (encoder_decoder.py): the decoder's past is within its request
as states, and what the encoder made of a text or sound is set as inputs once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optibench.backends.base import main_precision
from optibench.backends.openvino import OpenVINOSession
from optibench.encoder_decoder import Sources, part_file
from optibench.generation_rules import PROMPT
from optibench.openvino_decoder import OpenVINODecoder
from optibench.values import Executed

if TYPE_CHECKING:
    import numpy


class OpenVINOEncoderDecoder(OpenVINODecoder):
    """The decoder's compiled graph; the encoder's lies beside it."""

    def __init__(self, path: Path, device: str, settings: Mapping[str, Any]) -> None:
        super().__init__(path, device, settings)
        self.encoder = OpenVINOSession(part_file(path.parent, "openvino", "encode"), device, settings)

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        import numpy as np

        decode = {
            name: np.ascontiguousarray(array, dtype=self.inputs[name].get_element_type().to_dtype())
            for name, array in inputs.items()
            if name in self.inputs and name != PROMPT
        }
        return Sources(self.encoder.feed(inputs), decode, np.ascontiguousarray(inputs[PROMPT], np.int64))

    def call(self, inputs: Any) -> Any:
        return self.start(inputs)

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return {"logits": outputs}

    def start(self, inputs: Any) -> numpy.ndarray:
        self.request.reset_state()
        made = self.encoder.arrays(self.encoder.request.infer(inputs.encode, share_inputs=True, share_outputs=True))
        self.rows = len(inputs.prompt)
        # Set with the first tokens, they stay for all that follow.
        self.given = {**{name: array for name, array in made.items() if name in self.inputs}, **inputs.decode}
        return self._after(inputs.prompt, **self.given)

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        return self._after(tokens[:, None])

    def cache_bytes(self) -> int:
        """The past of the decoder, and what it looks up of the encoder's."""
        of_encoder: int = sum(array.nbytes for array in self.given.values())
        return super().cache_bytes() + of_encoder

    def executed(self, inputs: Any) -> Executed:
        both = (super().executed(inputs), self.encoder.executed(inputs))
        operations: dict[str, int] = {}
        for one in both:
            for name, count in one.operations.items():
                operations[name] = operations.get(name, 0) + count
        first = both[0]
        return Executed(
            provider=first.provider,
            precision=main_precision(operations),
            threads=first.threads,
            operations=operations,
        )

    def _after(self, tokens: numpy.ndarray, **given: numpy.ndarray) -> numpy.ndarray:
        last: numpy.ndarray = self._run({PROMPT: tokens, **given}, self.rows)["logits"][:, -1]
        return last
