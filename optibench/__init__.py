"""optibench: which build of this model should I ship on this hardware?"""

from __future__ import annotations

__version__ = "0.1.0"
