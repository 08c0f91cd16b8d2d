"""Training of proposal heads: boxes of everything, on the frozen features of an image encoder."""
