"""Nearest neighbours among vectors: exact, and approximate by FAISS."""
