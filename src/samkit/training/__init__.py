"""Training: data, simulated prompts, losses, the loop, and the ways to train."""
