"""Distillation of a large image encoder into a small one."""
