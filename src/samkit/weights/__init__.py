"""Checkpoint files: embedded in the package, local, or on the Hugging Face hub.

`load` turns a name or a path into a model. `catalog` and `hub` do not import torch.
"""
