"""`refresh()`: the graph in, a release out."""
