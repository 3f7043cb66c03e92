"""The command line program ``noneq``, with one file for each command."""
