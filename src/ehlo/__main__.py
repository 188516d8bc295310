"""``python -m ehlo``: the command line of ``ehlo.cli``."""

from __future__ import annotations

import sys

from ehlo.cli import main

if __name__ == "__main__":
    sys.exit(main())
