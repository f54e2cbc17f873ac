"""How good a list is, and which pairs are held back to tell."""
