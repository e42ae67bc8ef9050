"""What is told of a library's error: what is wrong, not where in its code that was noticed."""

from __future__ import annotations

from optibench.errors import first_line


def test_places_in_openvinos_code_are_passed_over() -> None:
    error = RuntimeError(
        "Exception from src/inference/src/cpp/core.cpp:132:\n"
        "Check 'false' failed at src/frontends/common_translators/src/unconverted_ops_report.cpp:151:\n"
        "FrontEnd API failed with OpConversionFailure:\n-- No conversion rule found for operations: com.acme.MyOp\n\n"
    )
    assert first_line(error) == (
        "RuntimeError: FrontEnd API failed with OpConversionFailure: "
        "-- No conversion rule found for operations: com.acme.MyOp"
    )


def test_other_errors_are_told_by_their_first_line() -> None:
    assert first_line(ValueError("no such thing\nat line 3")) == "ValueError: no such thing"
