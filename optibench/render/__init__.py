"""Records and comparisons in, text out: one file a format."""
