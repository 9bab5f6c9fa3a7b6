"""Commands that look for inputs which break a promise; run by hand and by night, not by pytest."""
