"""Many tasks on one backbone."""
