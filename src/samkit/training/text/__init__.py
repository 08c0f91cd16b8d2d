"""Training of a small CLIP from random weights, for text prompts."""
