"""Distillation: a small image encoder learns the features of a large one."""
