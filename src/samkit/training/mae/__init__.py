"""Pre-training of image encoders as masked autoencoders."""
