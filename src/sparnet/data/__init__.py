"""Faces on disk to batches: reading packs and folders, augmentation, the paper's preparation."""
