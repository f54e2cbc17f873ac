"""From the graph to vectors, and from vectors to neighbours."""
