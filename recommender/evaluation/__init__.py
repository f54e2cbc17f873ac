"""How good the whole is compared with baselines, and learning weights from that."""
