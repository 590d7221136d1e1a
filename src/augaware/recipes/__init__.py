"""Recipes: one function per run. A recipe's docstring says where its numbers come from and what to expect."""
