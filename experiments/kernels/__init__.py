"""Every kernel along the same recorded training paths."""
