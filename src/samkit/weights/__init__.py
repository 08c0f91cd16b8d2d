"""All that touches checkpoint files: embedded, local, from the hub.

`load` is the one door: a name or a path to a model. `catalog` and `hub` do without torch.
"""
