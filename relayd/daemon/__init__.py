"""The daemon: its parts, their order of start and stop, and what carries decisions between them."""
