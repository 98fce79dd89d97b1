"""The embedded default: a small pretrained BERT, and GLUE in miniature in its language."""
