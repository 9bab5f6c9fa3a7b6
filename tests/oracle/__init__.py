"""Commands that compare what relayd computes with what others measured; run by hand."""
