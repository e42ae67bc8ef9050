"""The base of every value that flows through the pipe."""

from __future__ import annotations

import msgspec


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value: immutable, equal by content, unknown fields refused (``kw_only`` is said anew by each)."""
