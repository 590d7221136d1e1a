"""Engines: how a pipeline's augmentations are carried out. The plain form of each defines what it does."""
