from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ehlo

PROGRAM = """
import os, socket
from ehlo.net.forked import release, withhold

ours, theirs = socket.socketpair()
kept, other = socket.socketpair()
withhold(ours.fileno(), kept.fileno())
release(kept.fileno())
gone = os.dup(ours.fileno())
withhold(gone)
os.close(gone)
again = os.dup(kept.fileno())
assert again == gone
may_end, end = os.pipe()
child = os.fork()
if child == 0:
    os.close(end)
    assert os.write(ours.fileno(), b"into the void") and kept.send(b"kept") and os.write(again, b" again")
    os.read(may_end, 1)
    os._exit(0)
ours.close()
print(theirs.recv(10), other.recv(4), other.recv(6))
os.close(end)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_what_is_withheld_is_gone_with_this_process_though_a_child_lives() -> None:
    command = [sys.executable, "-c", PROGRAM]
    environment = os.environ | {"PYTHONPATH": str(Path(ehlo.__file__).parents[1])}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=20)
    assert done.stdout == "b'' b'kept' b' again'\n0\n"
