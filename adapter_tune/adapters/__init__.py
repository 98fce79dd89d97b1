"""Adapter modules, where they go in a backbone, and what they count."""
