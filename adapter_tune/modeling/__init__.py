"""A configured model, ready to compute."""
