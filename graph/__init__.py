"""The graph: stored, frozen, weighted, and queried in Cypher."""
