"""Data sets for training and evaluation: readers of files, and synthetic scenes."""
