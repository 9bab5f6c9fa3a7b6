"""Which model files lie on this disk, and how others come to it (stores, pull, verify)."""
