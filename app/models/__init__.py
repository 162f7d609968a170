"""Qt's item models over the plain-Python state."""
