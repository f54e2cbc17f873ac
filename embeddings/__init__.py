"""Graph in, vectors out; vectors in, neighbours out."""
