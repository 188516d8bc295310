"""Searches for regular expressions in a process of its own.  Run as a script, by ``ehlo.inbox.patterns``.

A JSON array ``[pattern, flags, [text ...]]`` a line comes in, ``true`` or ``false`` goes out.
"""

from __future__ import annotations

import json
import re
import sys


def main() -> None:
    """Answer until nobody asks any more."""
    for line in sys.stdin.buffer:
        pattern, flags, texts = json.loads(line)
        found = any(re.search(pattern, text, flags) for text in texts)
        sys.stdout.write("true\n" if found else "false\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
