"""What is said of a quantized build that gained nothing."""

from __future__ import annotations

import pytest

from optibench.explain import with_notes
from tests import factories


@pytest.mark.parametrize(("size", "told"), [(99_000_000, True), (27_000_000, False)])
def test_a_weight_only_build_that_is_as_large_as_before_says_why(size: int, told: bool) -> None:
    """A model of convolutions: the recipe for weights alone is for matrix products."""
    before = factories.case("cpu/onnxruntime/fp32", artifact_bytes=100_000_000)
    after = factories.case("cpu/onnxruntime/int8-weights", artifact_bytes=size)
    _, found = with_notes([before, after], factories.host())
    assert any("as large as cpu/onnxruntime/fp32" in note for note in found.notes) == told
