"""Vectors of users, items and tags: node2vec, graph neural networks, items never seen."""
