"""The graph: as stored, as frozen, as weighted; and Cypher over it."""
