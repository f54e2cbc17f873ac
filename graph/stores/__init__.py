"""Where the graph is kept: one SQLite file, or a Neo4j server, behind one protocol."""
