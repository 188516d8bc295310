"""Looks into messages in a process of its own.  Run as a script, by ``ehlo.inbox.indexer``, which describes the frames.

    python worker.py TEXT_LIMIT MEMORY_LIMIT < batches > results

Whatever a message does here, memory and time end with this process, and nothing else does.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

if __name__ == "__main__":
    # The modules of this folder without those of the whole package, which would take longer to import than all else.
    for name, folder in (("ehlo", Path(__file__).parents[1]), ("ehlo.inbox", Path(__file__).parent)):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package

from ehlo.inbox.parse import Limits, parse
from ehlo.inbox.rows import parsed_row

COUNT = struct.Struct("<I")
SIZES = struct.Struct("<QQ")
READY = COUNT.pack(0)


def main(text_limit: str, memory_limit: str) -> int:
    """Answer until nobody asks any more; give the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes our input
    be_modest(int(memory_limit))
    limits = Limits(text=int(text_limit))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    target.write(READY)
    target.flush()
    while head := source.read(COUNT.size):
        # All of it before the first answer: so neither side ever waits for the other to read.
        batch = [_read_message(source) for _ in range(*COUNT.unpack(head))]
        for size, raw in batch:
            answer = json.dumps(parsed_row(parse(raw, limits, size=size))).encode("ascii")
            target.write(COUNT.pack(len(answer)))
            target.write(answer)
            target.flush()
    return 0


def _read_message(source: BinaryIO) -> tuple[int, bytes]:
    """The size of the whole message, and as much of it as is to be looked into."""
    size, sent = SIZES.unpack(source.read(SIZES.size))
    return size, source.read(sent)


def be_modest(memory: int) -> None:
    """Let allocation fail here before it fails for everybody, and the server go first; as far as the system can."""
    if hasattr(os, "nice"):
        os.nice(5)
    try:
        import resource  # noqa: PLC0415 - not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, OSError, ValueError):
        pass


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
