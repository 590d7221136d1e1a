"""Awareness: the ways of using omega. One file each."""
