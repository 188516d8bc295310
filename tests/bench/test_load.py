"""The client's reading of replies, and the mail that it sends."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from bench import load

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def scripted() -> Iterator[tuple[load.Client, socket.socket]]:
    """A client and the server's end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = load.Client(listener.getsockname()[1])
        server, _ = listener.accept()
        with client, server:
            yield client, server


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (b"", -1),
        (b"250 OK", -1),
        (b"250 OK\r\n", 8),
        (b"250-a\r\n", -1),
        (b"250-a\r\n250 b\r\n", 14),
        (b"250 a\r\n354 b\r\n", 7),
        (b"250-a\r\n250 b\r\n354 c\r\n", 14),
        (b"250\r\n", 5),
    ],
)
def test_reply_ends_at_the_first_line_without_a_hyphen(data: bytes, length: int) -> None:
    assert load._end_of_reply(data) == length


def test_replies_that_arrive_together_are_read_one_by_one(scripted: tuple[load.Client, socket.socket]) -> None:
    client, server = scripted
    server.sendall(b"250 one\r\n250-two\r\n250 more\r\n354 three\r\n")
    assert [client.expect(b"250"), client.expect(b"250"), client.expect(b"354")] == [
        b"250 one\r\n",
        b"250-two\r\n250 more\r\n",
        b"354 three\r\n",
    ]


def test_unexpected_reply_is_an_error_that_shows_it(scripted: tuple[load.Client, socket.socket]) -> None:
    client, server = scripted
    server.sendall(b"452 4.3.1 full\r\n")
    with pytest.raises(load.RefusedError, match=r"452 4\.3\.1 full"):
        client.expect(b"250")


def test_connection_closed_before_a_reply_is_an_error(scripted: tuple[load.Client, socket.socket]) -> None:
    client, server = scripted
    server.sendall(b"250-half of")
    server.close()
    with pytest.raises(load.RefusedError, match="closed instead of 250"):
        client.expect(b"250")


def test_hello_returns_keywords_without_their_parameters(scripted: tuple[load.Client, socket.socket]) -> None:
    client, server = scripted
    server.sendall(b"220 hi\r\n250-mail.example.com\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
    assert client.hello() == {"SIZE", "PIPELINING", "CHUNKING"}


def test_pipelined_message_waits_for_354_before_its_content(scripted: tuple[load.Client, socket.socket]) -> None:
    client, server = scripted
    data = load.content(100)
    sender = threading.Thread(target=load.pipelined, args=(client, data))
    sender.start()
    group = load.MAIL + load.RCPT + b"DATA\r\n"
    assert server.recv(65536) == group
    server.sendall(b"250 OK\r\n250 OK\r\n354 go\r\n")
    assert server.recv(65536) == data
    server.sendall(b"250 OK\r\n")
    sender.join()


@pytest.mark.parametrize("size", [1024, 50 * 1024, 1024 * 1024])
def test_content_has_the_size_asked_for_and_ends_once(size: int) -> None:
    data = load.content(size)
    assert len(data) == size + 3
    assert data.endswith(b"\r\n.\r\n")
    assert data.count(b"\r\n.\r\n") == 1


def test_content_is_made_of_short_lines_without_bare_cr_or_lf() -> None:
    lines = load.content(200_000).split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= load.LINE_LENGTH


def test_large_content_has_stuffed_lines() -> None:
    assert load.content(1024 * 1024).count(b"\r\n..") >= 15


def test_content_is_the_same_every_time() -> None:
    assert load.content(2048) == load.content(2048)


def test_sources_are_loopback_addresses() -> None:
    assert {load.source(number) for number in range(100)} == {f"127.0.0.{last}" for last in range(2, 10)}
