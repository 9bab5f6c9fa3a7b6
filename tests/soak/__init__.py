"""Does anything break when everything breaks at once? `python -m tests.soak`."""
