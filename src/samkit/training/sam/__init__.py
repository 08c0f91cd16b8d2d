"""Interactive training of SAM: simulated prompts and corrections, fine-tuning, LoRA."""
