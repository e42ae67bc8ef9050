"""A decoder's graph run by OpenVINO, which keeps keys and values within the request as its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optibench.backends.openvino import NAMES, OpenVINOSession
from optibench.decoding import Place, Prompts, prompts_from

if TYPE_CHECKING:
    import numpy

BYTES = {"fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "int8": 1.0, "int4": 0.5}


class OpenVINODecoder(OpenVINOSession):
    """A compiled graph and the one request whose states are the cache."""

    def feed(self, inputs: Mapping[str, numpy.ndarray]) -> Any:
        return prompts_from(inputs)

    def call(self, inputs: Any) -> Any:
        self.request.reset_state()
        return self._run(inputs.inputs(every=True), len(inputs.ids))

    def arrays(self, outputs: Any) -> dict[str, numpy.ndarray]:
        return {"logits": outputs["logits"]}

    def start(self, inputs: Prompts) -> numpy.ndarray:
        self.request.reset_state()
        self.place = Place(inputs)
        return self._next(inputs.inputs())

    def step(self, tokens: numpy.ndarray) -> numpy.ndarray:
        return self._next(self.place.following(tokens))

    def cache_bytes(self) -> int:
        """By the kind that the runtime's own graph keeps them in: what ``query_state`` gives is made float32 for it."""
        infos = [node.get_rt_info() for node in self.compiled.get_runtime_model().get_ops()]
        kept = [info for info in infos if "layerType" in info and info["layerType"].astype(str) == "MemoryInput"]
        kinds = {NAMES.get(info["outputPrecisions"].astype(str).partition(",")[0], "fp32") for info in kept}
        width = max((BYTES[kind] for kind in kinds), default=4.0)
        return int(width * sum(state.state.size for state in self.request.query_state()))

    def _next(self, arrays: Mapping[str, numpy.ndarray]) -> numpy.ndarray:
        last: numpy.ndarray = self._run(arrays, self.place.rows)["logits"][:, -1]
        return last

    def _run(self, arrays: Mapping[str, numpy.ndarray], rows: int) -> Any:
        import numpy as np

        # Beam search would give each row another one's past; greedy decoding leaves each its own.
        given = {**arrays, "beam_idx": np.arange(rows, dtype=np.int32)}
        feed = {
            name: np.ascontiguousarray(array, dtype=self.inputs[name].get_element_type().to_dtype())
            for name, array in given.items()
            if name in self.inputs
        }
        # ``infer`` computes in the thread that calls it: on a busy machine a small model's tokens took 1.1 to 1.5 times
        # as long (why was not looked into). OpenVINO's own pipelines run in the runtime's thread too.
        self.request.start_async(feed, share_inputs=True)
        self.request.wait()
        return {"logits": self.request.get_tensor("logits").data}
