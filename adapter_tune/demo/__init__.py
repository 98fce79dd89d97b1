"""The embedded default: a small pretrained BERT, and GLUE in miniature in the language that it was pretrained on."""
