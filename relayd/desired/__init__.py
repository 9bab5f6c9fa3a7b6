"""What the operator wants to run: from configuration and command line to a plan."""
