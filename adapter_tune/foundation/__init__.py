"""Basics that every subpackage uses; independent of adapters, models and tasks."""
