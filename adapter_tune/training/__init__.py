"""The Hugging Face Trainer and its callbacks."""
