"""Analyses: what an encoder knows. None yet."""
