"""Data sets, the order in which they are read, and the batches that are made of them."""
