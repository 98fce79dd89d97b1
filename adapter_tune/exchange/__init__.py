"""Adapters of other libraries, written and read."""
