"""The item table that ranks: scores between items, blended by what held-back pairs choose."""
