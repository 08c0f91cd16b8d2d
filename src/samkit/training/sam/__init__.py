"""SAM's own training: simulated prompts, corrections, fine-tuning, LoRA."""
