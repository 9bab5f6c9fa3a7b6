"""What relayd promises, proved; `python -m tests.check` runs every check."""
