"""Masks in from other programs, and out to them."""
