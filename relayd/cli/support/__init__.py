"""What several commands share: printing, completion, questions, the way to the daemon."""
