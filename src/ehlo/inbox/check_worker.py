"""Checks messages in a process of its own.  Run as a script, by ``ehlo.inbox.checking``, which describes the frames.

    python check_worker.py MEMORY_LIMIT < questions > answers

Whatever a message does here, memory and time end with this process, and nothing else does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    # The modules of these folders without those of the whole package, which would take longer to import than all else.
    for name, folder in (("ehlo", Path(__file__).parents[1]), ("ehlo.inbox", Path(__file__).parent)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package

import signal

from ehlo.inbox.checking import LENGTH, SIZE, answer_to
from ehlo.inbox.worker import be_modest
from ehlo.report import check as _  # noqa: F401 - now, and not when somebody waits


def main(memory_limit: str) -> int:
    """Answer until nobody asks any more; give the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends us
    be_modest(int(memory_limit))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    target.write(LENGTH.pack(0))
    target.flush()
    while head := source.read(LENGTH.size):
        question = source.read(*LENGTH.unpack(head))
        raw = source.read(*SIZE.unpack(source.read(SIZE.size)))
        answer = answer_to(question, raw)
        target.write(LENGTH.pack(len(answer)) + answer)
        target.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
