"""The tasks as data, and their metrics."""
