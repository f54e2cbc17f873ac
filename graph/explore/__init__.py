"""Queries the graph in Cypher: copies to be queried, a guarded console, ready-made questions."""
