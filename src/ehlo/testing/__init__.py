"""For tests of what you build on ehlo: a transport in memory, dialogues written as scripts, a clock that you move.

memory     MemoryTransport: a protocol's other end, without sockets
clock      FakeClockLoop: an event loop whose time you advance
dialogue   Script: "C: ..." and "S: ..." lines, played against a server in memory
"""

from __future__ import annotations

from ehlo.testing.clock import FakeClockLoop
from ehlo.testing.dialogue import DialogueError, Script
from ehlo.testing.memory import MemoryTransport

__all__ = ["DialogueError", "FakeClockLoop", "MemoryTransport", "Script"]
