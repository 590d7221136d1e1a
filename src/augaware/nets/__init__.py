"""Networks: encoders by name, heads, the EMA copy."""
