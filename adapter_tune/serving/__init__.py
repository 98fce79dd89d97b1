"""Trained tasks over HTTP: one backbone, any number of tasks, batches across requests."""
