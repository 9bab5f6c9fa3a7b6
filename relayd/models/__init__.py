"""Model files on this disk, and how they get there (stores, pull, verify)."""
