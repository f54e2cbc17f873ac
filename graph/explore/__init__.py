"""Asking the graph in Cypher: copies made for it, the guarded console, ready-made questions."""
