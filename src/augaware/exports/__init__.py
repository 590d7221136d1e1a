"""Forms of an encoder for other libraries: what is written, and how that library alone reads it back."""
