"""Modules that offer the names of other packages, for programs written for them."""
