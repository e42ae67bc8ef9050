"""optibench: which build of this model should I ship on this hardware?

import optibench
result = optibench.compare("minilm", targets=["cpu"])
print(result.best())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optibench.api import Replayed, Result, compare, diff, history, load, replay, report
    from optibench.errors import NothingMeasured, OptibenchError
    from optibench.gating import gate, gate_against

__version__ = "0.1.0"
__all__ = [
    "NothingMeasured",
    "OptibenchError",
    "Replayed",
    "Result",
    "compare",
    "diff",
    "gate",
    "gate_against",
    "history",
    "load",
    "replay",
    "report",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are used: the command line and the workers start without them."""
    if name in __all__:
        import importlib

        module = "optibench.gating" if name.startswith("gate") else "optibench.api"
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'optibench' has no attribute {name!r}")
