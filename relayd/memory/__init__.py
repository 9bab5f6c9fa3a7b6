"""How much memory llama-server takes for a model, where, and why (memory prediction; pure)."""
