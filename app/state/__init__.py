"""What the window shows, as plain Python: no Qt, no widgets, no engine but its contract."""
