"""Rewrites of exported and quantized OpenVINO graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import CaseFailed, first_line

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

MOST_TRIES = 64
"""How often a graph is compiled to find what is wrong in it."""


def whole_divisions(model: Any) -> None:
    """Sizes that the exporter divides as floats and rounds down (``length // stride``) divided as whole numbers.

    Floats are computed in the precision that the case asks for, and bf16 counts to 256: beyond that the number of
    frames of a sound would be off, and the graph would not run.
    """
    for floor in [node for node in model.get_ordered_ops() if node.get_type_name() == "Floor"]:
        found = _division(floor.input_value(0).get_node())
        users = [user.get_node() for user in floor.output(0).get_target_inputs()]
        if found is None or not all(_to_integers(user) for user in users):
            continue
        import numpy
        from openvino import opset13

        size, divisor = found
        kind = size.get_element_type()
        quotient = opset13.divide(size, opset13.constant(numpy.array(divisor, kind.to_dtype())))  # rounds down
        for user in users:
            user.output(0).replace(opset13.convert(quotient, user.get_element_type().get_type_name()).output(0))


def _division(node: Any) -> tuple[Any, int] | None:
    """What is divided (a whole number made a float) and by what, if the node is such a division of one number."""
    if node.get_type_name() not in ("Multiply", "Divide"):
        return None
    one, other = (node.input_value(place).get_node() for place in (0, 1))
    if node.get_type_name() == "Multiply" and one.get_type_name() == "Constant":
        one, other = other, one
    if one.get_type_name() != "Convert" or other.get_type_name() != "Constant" or other.get_output_size() != 1:
        return None
    size, values = one.input_value(0), other.get_data().ravel()
    if not size.get_element_type().is_integral_number() or len(values) != 1 or not values[0] > 0:
        return None
    divisor = 1 / float(values[0]) if node.get_type_name() == "Multiply" else float(values[0])
    return (size, round(divisor)) if abs(divisor - round(divisor)) < 1e-5 * divisor else None


def _to_integers(node: Any) -> bool:
    return node.get_type_name() == "Convert" and bool(node.get_element_type().is_integral_number())


def means_by_themselves(model: Any) -> None:
    """Means, sums and the like over an axis leave it in place, and it is squeezed away behind them.

    OpenVINO 2026.4 fuses them with what a channel is multiplied by or added to next, and where the last of three axes
    was summed up it takes the wrong channel's for all rows but the first.
    """
    from openvino import opset13 as ops

    for node in model.get_ordered_ops():
        if not node.get_type_name().startswith("Reduce") or node.get_attributes()["keep_dims"]:
            continue
        users = node.output(0).get_target_inputs()
        node.set_attribute("keep_dims", True)
        node.constructor_validate_and_infer_types()
        squeezed = ops.squeeze(node, node.input_value(1))
        for user in users:
            user.replace_source_output(squeezed.output(0))
    model.validate_nodes_and_infer_types()


# Quantized graphs: OpenVINO computes some of them otherwise than they are written (docs/quantization.md).


def computed_as_written(model: Any, original: Any, batches: Sequence[Arrays]) -> None:
    """Takes out those quantizers of activations that OpenVINO fuses with their surroundings into something else.

    Which they are is tried: half of them as they are and the others spelled out, and so on. Raises CaseFailed if the
    answers to the batches are then still not those of the graph.
    """
    check = _Check(model, original, batches)
    if wrong := check.wrong(check.places):
        check.take_out(check.guilty(check.places))
        if wrong := check.wrong(_places(model)):
            raise CaseFailed(f"OpenVINO computes this int8 graph otherwise than it is written{wrong}.")


class _Check:
    def __init__(self, model: Any, original: Any, batches: Sequence[Arrays]) -> None:
        import numpy as np

        self.model, self.batches, self.tries = model, batches, 0
        self.places = _places(model)
        self.written, exact = self._answers(_spelled_out(model, self.places)), self._answers(original)
        self.allowed = max(
            4 * _squares(self.written, exact), 1e-4 * _squares(exact, [np.zeros(1)] * len(exact)), 1e-12
        )  # what quantizing costs is no fault of the runtime, which may round otherwise where a value lies between two

    def wrong(self, places: Sequence[int]) -> str:
        """Why not, if the graph in which only these quantizers are not spelled out has answers of its own."""
        self.tries += 1
        others = [place for place in _places(self.model) if place not in places]
        try:
            off = _squares(self._answers(_spelled_out(self.model, others)), self.written)
        except RuntimeError as error:  # its passes over quantized graphs break some
            return f": {first_line(error)}"
        return "" if off <= self.allowed else ", so its answers are wrong"

    def guilty(self, places: Sequence[int]) -> list[int]:
        """The smallest sets of quantizers that are wrong by themselves, as far as halving finds them."""
        if len(places) < 2 or self.tries > MOST_TRIES:
            return [*places]
        half = len(places) // 2
        found = [place for part in (places[:half], places[half:]) if self.wrong(part) for place in self.guilty(part)]
        return found or [*places]

    def take_out(self, places: Sequence[int]) -> None:
        for node in _at(self.model, places):
            node.output(0).replace(node.input_value(0))

    def _answers(self, model: Any) -> list[numpy.ndarray]:
        import numpy as np
        import openvino

        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        names = {name: port for port in compiled.inputs for name in port.get_names()}
        found = []
        for batch in self.batches:
            feed = {
                name: array.astype(names[name].get_element_type().to_dtype())
                for name, array in batch.items()
                if name in names
            }
            found += [np.nan_to_num(np.asarray(output, np.float64)) for output in compiled(feed).to_tuple()]
        return found


def _squares(one: Sequence[numpy.ndarray], other: Sequence[numpy.ndarray]) -> float:
    return sum(float(((a - b) ** 2).sum()) for a, b in zip(one, other, strict=True))


def _places(model: Any) -> list[int]:
    """Where quantizers of activations stand among all operations: those behind an input or a state of the graph."""
    places: list[int] = []
    computed: set[int] = set()
    for place, node in enumerate(model.get_ordered_ops()):
        kind, behind = node.get_type_name(), {value.get_node().get_instance_id() for value in node.input_values()}
        if kind in ("Parameter", "ReadValue") or behind & computed:
            computed.add(node.get_instance_id())
            if kind == "FakeQuantize":
                places.append(place)
    return places


def _at(model: Any, places: Sequence[int]) -> list[Any]:
    nodes = model.get_ordered_ops()
    return [nodes[place] for place in places]


def _spelled_out(model: Any, places: Sequence[int]) -> Any:
    """The graph with these quantizers written as what they compute, which nothing is fused with."""
    import numpy as np
    from openvino import opset13 as ops

    copy = model.clone()
    for node in _at(copy, places):
        x, low, high, out_low, out_high = node.input_values()
        steps = ops.constant(np.float32(node.get_attributes()["levels"] - 1))
        width = ops.maximum(ops.subtract(high, low), ops.constant(np.float32(1e-30)))
        share = ops.divide(ops.subtract(ops.minimum(ops.maximum(x, low), high), low), width)
        step = ops.divide(ops.round(ops.multiply(share, steps), "half_to_even"), steps)
        node.output(0).replace(ops.add(ops.multiply(step, ops.subtract(out_high, out_low)), out_low).output(0))
    copy.validate_nodes_and_infer_types()
    return copy
