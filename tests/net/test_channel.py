from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from ehlo.net.channel import Order, encode, receive

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="workers need POSIX")

ORDER = Order(
    application="package.module:name",
    arguments=["-d", "é" * 100_000],
    sockets=[3, 4],
    others=[6, 7],
    loop="auto",
    clients=5,
    seats=4,
    seat=1,
    key="00",
    secret="ff",
    interval=1.0,
)


def test_an_order_arrives_as_it_was_sent_and_what_follows_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sending = threading.Thread(target=ours.sendall, args=(ORDER.encode() + b"more",))
        sending.start()
        assert Order.receive(theirs) == ORDER
        sending.join()
        assert theirs.recv(100) == b"more"


def test_where_nobody_gives_an_order_there_is_none() -> None:
    for cut in (0, 2, 100):
        ours, theirs = socket.socketpair()
        with theirs:
            with ours:
                ours.sendall(ORDER.encode()[:cut])
            with pytest.raises(EOFError):
                Order.receive(theirs)


def test_secrets_do_not_show() -> None:
    assert "ff" not in repr(ORDER)


async def test_messages_arrive_one_by_one_until_there_are_no_more() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(encode({"ready": True}) + encode({"stats": {"commands": 1}}) + b'{"cut')
    reader.feed_eof()
    assert await receive(reader) == {"ready": True}
    assert await receive(reader) == {"stats": {"commands": 1}}
    assert await receive(reader) is None


async def test_a_connection_that_was_reset_has_no_more_messages() -> None:
    reader = asyncio.StreamReader()
    reader.set_exception(ConnectionResetError())
    assert await receive(reader) is None
