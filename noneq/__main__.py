"""``python -m noneq``: the command line."""

import sys

from noneq.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
