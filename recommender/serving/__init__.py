"""`recommend()`: requests in, lists with reasons out."""
