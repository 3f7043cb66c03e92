"""The command line program ``noneq``, with one file for each of the commands.

They are ``train``, ``sample``, ``score``, ``logz`` and ``report``.
"""
