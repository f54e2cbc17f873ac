"""The item table that ranks: scores between items, blended as held-back pairs choose."""
