"""Rewrites of exported and quantized OpenVINO graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optibench.errors import CaseFailed

if TYPE_CHECKING:
    import numpy

    Arrays = Mapping[str, numpy.ndarray]

PASSING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "MaxPool", "Relu", "Pad")
"""What OpenVINO moves integers through without computing with them."""
CONVOLUTIONS = ("Convolution", "GroupConvolution")
FEW_CHANNELS = 64
"""Input channels of a group, below which oneDNN (OpenVINO 2026.4) takes a way of its own on processors with AMX."""
TRIED = 4


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


# Quantized graphs: OpenVINO computes some of them otherwise than they are written (docs/quantization.md).


def computed_as_written(model: Any, original: Any, samples: Sequence[Arrays]) -> None:
    """Takes out the activations' quantizers that OpenVINO 2026.4 is known to compute wrongly, where it does so here.

    Raises CaseFailed if its answers to the samples are then still not those of the graph as it stands.
    """
    # The mean over an axis, fused with a quantizer that has a range a channel, takes the ranges of other channels.
    _unquantized(model, lambda node: node.get_type_name().startswith("Reduce"), behind=True)
    if _wrong(model, original, samples):
        _unquantized(model, _narrow)
        if _wrong(model, original, samples):
            raise CaseFailed(
                "OpenVINO computes this int8 graph otherwise than it is written, so its answers are wrong."
            )


def _wrong(model: Any, original: Any, samples: Sequence[Arrays]) -> bool:
    """Whether answers differ from the graph's own, computed step by step in floats, by much more than those differ from
    the original's: what quantizing costs is no fault of the runtime."""
    import numpy as np

    written = _answers(model, samples, LP_TRANSFORMS_MODE="NO")
    computed, exact = _answers(model, samples), _answers(original, samples)
    of_the_runtime, of_quantizing, all_of_it = (
        sum(float(np.square(a - b).sum()) for a, b in zip(one, other, strict=True))
        for one, other in ((computed, written), (written, exact), (exact, [np.zeros(1)] * len(exact)))
    )
    return of_the_runtime > max(4 * of_quantizing, 0.0025 * all_of_it)


def _answers(model: Any, samples: Sequence[Arrays], **settings: str) -> list[numpy.ndarray]:
    import numpy as np
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings})
    names = {name: port for port in compiled.inputs for name in port.get_names()}
    found = []
    for sample in samples[:TRIED]:
        feed = {
            name: array.astype(names[name].get_element_type().to_dtype())
            for name, array in sample.items()
            if name in names
        }
        found += [np.nan_to_num(np.asarray(output, np.float64)) for output in compiled(feed).to_tuple()]
    return found


def _narrow(node: Any) -> bool:
    return (
        node.get_type_name() in CONVOLUTIONS
        and node.input(1).get_shape()[-node.get_output_partial_shape(0).rank.get_length() + 1] < FEW_CHANNELS
    )


def _unquantized(model: Any, of: Callable[[Any], bool], behind: bool = False) -> None:
    """Without the quantizers of the first input of such nodes, or those right behind such nodes."""
    for quantizer in [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]:
        if behind:
            if of(_source(quantizer)):
                quantizer.output(0).replace(quantizer.input_value(0))
            continue
        for user in quantizer.output(0).get_target_inputs():
            if any(of(node) for node in _users(user.get_node())):
                user.replace_source_output(quantizer.input_value(0))


def _source(node: Any) -> Any:
    """What computed the node's input, but for scales."""
    node = node.input_value(0).get_node()
    return _source(node) if node.get_type_name() == "Multiply" else node


def _users(node: Any) -> list[Any]:
    """The node, or whoever computes with what it passes on."""
    if node.get_type_name() not in PASSING:
        return [node]
    return [found for user in node.output(0).get_target_inputs() for found in _users(user.get_node())]
