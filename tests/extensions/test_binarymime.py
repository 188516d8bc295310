"""BINARYMIME (RFC 3030 §3): content that is no lines of text, by BDAT alone."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP
from ehlo.protocol.parameters import Body
from tests.extensions.support import Declares, codes, offer
from tests.support import Recorder, talk, wire

OCTETS = bytes(range(256)) + b"\r\n.\r\n" + b"\n" * 3 + b"no end of line"


class Binary(Recorder):
    """Takes it."""

    honours = frozenset({"BINARYMIME"})


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_with_chunking_where_it_is_declared(server_class: type[SMTP]) -> None:
    # RFC 3030 §3 (7): a server that offers it must offer CHUNKING.
    async with talk(Binary(), server_class=server_class) as client:
        offered = await offer(client)
        assert offered["BINARYMIME"] == offered["CHUNKING"] == ""


async def test_without_a_declaration_there_is_none() -> None:
    async with talk(Declares(())) as client:
        assert "BINARYMIME" not in await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> BODY=BINARYMIME")).startswith("555 5.5.4 ")


async def test_octets_arrive_as_they_were_sent() -> None:
    handler = Binary()
    async with talk(handler) as client:
        assert await client.ask("MAIL FROM:<a@example.com> body=BinaryMime") == "250 2.1.0 OK"
        await client.ask("RCPT TO:<b@example.com>")
        await client.feed(b"BDAT %d LAST\r\n" % len(OCTETS) + OCTETS)
        assert (await client.hear()).startswith("250 ")
    (envelope,) = handler.envelopes
    assert envelope.content == OCTETS
    assert envelope.mail_parameters.body is Body.BINARYMIME
    assert envelope.mail_options == ["body=BinaryMime"]


async def test_data_is_refused_and_bdat_may_follow() -> None:
    handler = Binary()
    async with talk(handler) as client:
        await client.ask("MAIL FROM:<a@example.com> BODY=BINARYMIME")
        await client.ask("RCPT TO:<b@example.com>")
        assert await client.ask("DATA") == "503 5.5.1 BINARYMIME needs BDAT"
        await client.feed(b"BDAT 1 LAST\r\nx")
        assert (await client.hear()).startswith("250 ")
    assert handler.contents == [b"x"]


async def test_mail_data_sent_with_the_refused_data_are_not_executed() -> None:
    handler = Binary()
    async with talk(handler) as client:
        await client.feed(
            wire("MAIL FROM:<a@example.com> BODY=BINARYMIME", "RCPT TO:<b@example.com>", "DATA", "BDAT 0 LAST", ".")
        )
        assert codes(await client.hear_all()) == ["250", "250", "503", "421"]
    assert handler.contents == []


async def test_it_holds_for_one_transaction() -> None:
    async with talk(Binary()) as client:
        await client.ask("MAIL FROM:<a@example.com> BODY=BINARYMIME")
        await client.ask("RSET")
        assert (await client.send("Hello")).startswith("250 ")


async def test_other_messages_may_use_data() -> None:
    async with talk(Binary()) as client:
        await client.ask("MAIL FROM:<a@example.com> BODY=8BITMIME")
        await client.ask("RCPT TO:<b@example.com>")
        assert (await client.ask("DATA")).startswith("354 ")
