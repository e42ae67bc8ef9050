"""Benchmarks use the plugin's fixture, which tests/conftest.py hides from the tests of the command."""

from optibench.pytest_plugin import optibench  # noqa: F401
