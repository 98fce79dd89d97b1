"""From rows to tokenised splits."""
