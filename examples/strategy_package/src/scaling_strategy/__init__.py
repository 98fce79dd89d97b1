"""A strategy for adapter-tune in a package of its own."""
