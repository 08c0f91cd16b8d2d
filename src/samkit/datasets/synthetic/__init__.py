"""Synthetic scenes that are drawn, with their true masks."""
