"""The commands of the command line, one file each; heavy imports are inside the functions."""
