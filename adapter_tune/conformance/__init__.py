"""What every strategy must do, as checks that run on tiny random models; ``testing.py`` is the public part."""
