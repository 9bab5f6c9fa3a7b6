"""What clients of other APIs write, in the engine's words, and what it answers, in theirs (pure)."""
