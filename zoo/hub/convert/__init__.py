"""Checkpoints of other libraries, one file per foreign format."""
