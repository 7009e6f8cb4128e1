"""The version of the package, by itself: files and checkpoints are marked with it."""

__version__ = "0.1.0"
