"""Basics that every room uses; it knows nothing about adapters, models or tasks."""
