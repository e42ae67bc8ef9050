"""One file a backend, each a plain module typed by the Protocol in base.py."""
