from __future__ import annotations

import hashlib
import re
import select
import socket
import sys
from pathlib import Path

import pytest

from ehlo import SMTP
from examples.hash_stream import HashStream
from tests.cli.process import running
from tests.support import Client

GIGABYTE = 1_000_000_000
ALLOWED = 16 * 1024 * 1024


async def test_the_digest_is_that_of_the_message() -> None:
    client = Client(SMTP(HashStream(), hostname="mx.test"))
    await client.greet()
    reply = await client.send("Subject: Hello", "", "..dots")
    content = b"Subject: Hello\r\n\r\n.dots\r\n"
    assert reply == f"250 2.0.0 {len(content)} octets, SHA-256 {hashlib.sha256(content).hexdigest()}"
    await client.leave()


async def test_a_message_that_breaks_off_is_no_error() -> None:
    client = Client(SMTP(HashStream(), hostname="mx.test"))
    await client.greet()
    await client.begin()
    await client.ask("DATA")
    await client.say("half a message")
    await client.leave()
    assert client.said() == []


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of another process's memory is in /proc")
def test_a_gigabyte_takes_no_more_memory_than_a_kilobyte() -> None:
    """It comes as fast as it is taken; the peak is the kernel's account, so nothing between two looks is missed."""
    with running("examples/hash_stream.py", "0") as command:
        port = int(command.out.wait_for(r"listening on port (\d+)")[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert converse(client, 1000) == hash_of(1000)
            idle = peak_memory(command.process.pid)
            assert converse(client, GIGABYTE) == hash_of(GIGABYTE)
            grown = peak_memory(command.process.pid) - idle
    assert grown < ALLOWED, f"the peak has grown by {grown / 1024 / 1024:.1f} MiB"


LINE = b"x" * 98 + b"\r\n"
BLOCK = LINE * 10_000


def blocks(size: int) -> list[bytes]:
    """Content of so many octets; all the large blocks are one object."""
    assert size % len(LINE) == 0
    return [BLOCK] * (size // len(BLOCK)) + [LINE] * (size % len(BLOCK) // len(LINE))


def hash_of(size: int) -> str:
    digest = hashlib.sha256()
    for block in blocks(size):
        digest.update(block)
    return digest.hexdigest()


def converse(client: socket.socket, size: int) -> str:
    """Send a message of so many octets, without ever waiting in a send; the digest in the reply."""
    client.setblocking(False)
    for command, code in (
        (b"HELO a\r\n", b"250 a"),
        (b"MAIL FROM:<a@b.example>\r\n", b"250 2.1.0"),
        (b"RCPT TO:<c@d.example>\r\n", b"250 2.1.5"),
        (b"DATA\r\n", b"354 "),
    ):
        write(client, command)
        wait_for(client, code if code != b"250 a" else b"250 ")
    for block in blocks(size):
        write(client, block)
    write(client, b".\r\n")
    match = re.search(rb"SHA-256 ([0-9a-f]{64})\r\n", wait_for(client, b"SHA-256"))
    assert match is not None
    return match[1].decode()


def write(client: socket.socket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        _, is_writable, _ = select.select([], [client], [], 30)
        assert is_writable, "the server takes nothing more"
        left = left[client.send(left) :]


def wait_for(client: socket.socket, text: bytes) -> bytes:
    received = b""
    while not (text in received and received.endswith(b"\r\n")):
        is_readable, _, _ = select.select([client], [], [], 30)
        assert is_readable, f"no {text!r} in {received!r}"
        data = client.recv(4096)
        assert data, f"closed after {received!r}"
        received += data
    return received


def peak_memory(pid: int) -> int:
    """Octets, since the process began its program: unlike ``ru_maxrss``, which a child inherits."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024
