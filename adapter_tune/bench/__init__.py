"""Speed and memory of strategies, measured in turns on random weights."""
