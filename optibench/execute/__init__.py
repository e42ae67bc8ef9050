"""Where a round's workers live: a process each (the default)."""
