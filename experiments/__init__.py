"""What the papers and the documentation claim, each by a script that can be run again."""
