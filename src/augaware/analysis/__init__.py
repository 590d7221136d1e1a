"""Analyses: what an encoder knows.."""
