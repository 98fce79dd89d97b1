"""The schema of a run's configuration, and how a configuration is composed."""
