"""Speed and memory of strategies, measured on random weights and rows."""
