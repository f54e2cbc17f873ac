"""How good the whole is beside baselines, and weights learned from that."""
