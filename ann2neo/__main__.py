"""``python -m ann2neo`` is the command ``ann2neo``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
