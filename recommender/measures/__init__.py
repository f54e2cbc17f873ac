"""Which pairs are held back to measure lists, and the baselines to compare with."""
