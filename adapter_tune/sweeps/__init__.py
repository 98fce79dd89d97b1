"""Many runs: grids and searches over configurations, their workers and their cost."""
