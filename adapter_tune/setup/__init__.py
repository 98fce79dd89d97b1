"""A configuration written from what the data look like."""
