"""Runs that are shown in public: packed, checked, signed, merged into the rows of a board (docs/leaderboard.md)."""
