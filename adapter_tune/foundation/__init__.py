"""What every room stands on; knows nothing of adapters, models or tasks."""
