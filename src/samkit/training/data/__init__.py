"""Training data: sample order, filters, augmentation, cached embeddings and batches."""
