"""The network of a SAM 2."""
