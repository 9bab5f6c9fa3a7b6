"""What hubs and nodes add to streams: `python -m tests.fleet`."""
