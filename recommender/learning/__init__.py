"""`refresh()`: from the graph to a release."""
