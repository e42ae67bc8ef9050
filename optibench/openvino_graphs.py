"""Rewrites of exported OpenVINO graphs."""

from __future__ import annotations

from typing import Any


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
