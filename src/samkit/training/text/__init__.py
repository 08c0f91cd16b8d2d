"""A small CLIP from nothing, for text prompts."""
