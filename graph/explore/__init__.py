"""Querying the graph in Cypher: copies made for that, the guarded console, ready-made questions."""
