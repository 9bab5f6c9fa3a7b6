"""Answers whose replica is ended or stopped at a random moment: `python -m tests.kills`."""
