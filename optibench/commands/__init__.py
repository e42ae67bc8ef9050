"""The commands, one file a family: options in, a call of api.py, output out."""
