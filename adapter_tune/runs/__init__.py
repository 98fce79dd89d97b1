"""What one run can do: train, load again, score, predict, ablate, submit."""
