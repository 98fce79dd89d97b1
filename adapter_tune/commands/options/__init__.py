"""The options and arguments of the command line, each defined once: its flag, its type, its line of help."""
