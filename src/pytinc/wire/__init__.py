"""Converts bytes and text, on the wire and in files, to values and back. No state, no I/O."""
