"""What relayd promises about security, requirement by requirement."""
