"""Does relayd stand firm against its clients? `python -m tests.attack`."""
