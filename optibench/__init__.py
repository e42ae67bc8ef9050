"""optibench: which build of this model should I ship on this hardware?

import optibench
result = optibench.compare("minilm", targets=["cpu"])
print(result.best())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optibench.api import Replayed, Result, compare, history, load, replay
    from optibench.errors import NothingMeasured, OptibenchError
    from optibench.gating import gate

__version__ = "0.1.0"
__all__ = [
    "NothingMeasured",
    "OptibenchError",
    "Replayed",
    "Result",
    "compare",
    "gate",
    "history",
    "load",
    "replay",
]


def __getattr__(name: str) -> Any:
    """The public names, imported when they are used: the command line and the workers start without them."""
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("optibench.gating" if name == "gate" else "optibench.api"), name)
    raise AttributeError(f"module 'optibench' has no attribute {name!r}")
