"""Many runs: grids and searches over configurations, the worker processes that run them, and their cost."""
