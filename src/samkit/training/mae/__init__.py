"""MAE pre-training of ViT image encoders."""
