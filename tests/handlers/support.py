"""What the tests of several handlers need."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import pytest

from ehlo.net.client import Client
from ehlo.protocol.replies import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

HOST = "127.0.0.1"
CONTENT = b"Subject: a message\r\n\r\nHello\r\n.hidden dot\r\nBye\r\n"


async def transact(
    client: Client, content: bytes | AsyncIterable[bytes] = CONTENT, recipients: tuple[str, ...] = ("to@example.com",)
) -> Reply:
    """Give one message to a server; the first reply that is a refusal, or else the last."""
    reply = await client.mail("from@example.com")
    for recipient in recipients:
        if reply.is_positive:
            reply = await client.rcpt(recipient)
    if reply.is_positive:
        last = await client.data(content)
        assert isinstance(last, Reply)
        reply = last
    return reply


async def send(
    port: int, content: bytes | AsyncIterable[bytes] = CONTENT, recipients: tuple[str, ...] = ("to@example.com",)
) -> Reply:
    """The same, with a connection of its own."""
    async with Client.connect(HOST, port, local_hostname="client.example") as client:
        assert (await client.ehlo()).is_positive
        return await transact(client, content, recipients)


def parser_error(handler_class: Any, args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command line says when a handler's arguments are wrong."""
    with pytest.raises(SystemExit):
        handler_class.from_cli(argparse.ArgumentParser(), *args)
    return capsys.readouterr().err
