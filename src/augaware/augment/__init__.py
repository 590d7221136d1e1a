"""Augmentations with explicit parameters: one file each, and the pipeline that chains them."""
