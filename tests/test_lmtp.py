"""What is different in LMTP (RFC 2033): LHLO, and a reply for each recipient."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, Envelope, Reply, Session
from tests.support import Recorder, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support import Client

INTERNAL_ERROR = "451 4.3.0 Internal error, try again later"


class Deciding:
    """handle_DATA answers what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class DecidingOnStream(Deciding):
    async def handle_DATA_STREAM(
        self, server: SMTP, session: Session, envelope: Envelope, chunks: AsyncIterator[bytes]
    ) -> Any:
        async for _ in chunks:
            pass
        return await self.handle_DATA(server, session, envelope)


async def send(client: Client, *recipients: str) -> list[str]:
    """The replies to the end of data, one for each recipient."""
    await client.begin(*recipients)
    assert (await client.ask("DATA")).startswith("354")
    await client.say("Hello", ".")
    replies = [await client.hear() for _ in recipients]
    assert client.said() == []
    return replies


RECIPIENTS = ("a@example.com", "b@example.com", "c@example.com")

each_handler = pytest.mark.parametrize("handler_class", [Deciding, DecidingOnStream])


@each_handler
@pytest.mark.parametrize("answer", ["250 2.0.0 Stored", b"250 2.0.0 Stored", Reply(250, "2.0.0", ("Stored",))])
async def test_one_status_is_for_all(handler_class: type[Deciding], answer: Any) -> None:
    async with talk(handler_class(answer), server_class=LMTP) as client:
        assert await send(client, *RECIPIENTS) == ["250 2.0.0 Stored"] * 3


@each_handler
async def test_a_list_has_a_status_for_each(handler_class: type[Deciding]) -> None:
    answer = ["250 2.0.0 Stored", b"452 4.2.2 Full", Reply(550, "5.1.1", ("Gone", "for good"))]
    async with talk(handler_class(answer), server_class=LMTP) as client:
        assert await send(client, *RECIPIENTS) == [
            "250 2.0.0 Stored",
            "452 4.2.2 Full",
            "550-5.1.1 Gone\n550 5.1.1 for good",
        ]
        assert await client.is_usable()


async def test_none_in_a_list_is_the_default() -> None:
    async with talk(Deciding([None, "452 4.2.2 Full", None]), server_class=LMTP) as client:
        first, second, third = await send(client, *RECIPIENTS)
        assert first.startswith("250 2.0.0 OK queued as ")
        assert second == "452 4.2.2 Full"
        assert third == first


@each_handler
@pytest.mark.parametrize("answer", [[], ["250 OK"], ["250 OK"] * 2, ["250 OK"] * 4])
async def test_a_list_of_another_length_is_451_for_all(
    handler_class: type[Deciding], answer: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with talk(handler_class(answer), server_class=LMTP) as client:
        assert await send(client, *RECIPIENTS) == [INTERNAL_ERROR] * 3
        assert await client.is_usable()
    assert f"{len(answer)} statuses for 3 recipients" in caplog.text


@pytest.mark.parametrize(
    "answer", [ValueError("details"), "fine", 250, "250 a\r\n250 b", ("250 OK",) * 3, ["250 OK", "fine", "250 OK"]]
)
async def test_a_failure_is_451_for_all(answer: Any) -> None:
    async with talk(Deciding(answer), server_class=LMTP) as client:
        assert await send(client, *RECIPIENTS) == [INTERNAL_ERROR] * 3
        assert await client.is_usable()


async def test_a_list_of_one_is_for_the_one() -> None:
    async with talk(Deciding(["452 4.2.2 Full"]), server_class=LMTP) as client:
        assert await send(client, "a@example.com") == ["452 4.2.2 Full"]


@pytest.mark.parametrize("changed", [[], ["a@example.com"], ["a@example.com"] * 5])
async def test_there_are_as_many_replies_as_accepted_recipients_whatever_the_hook_does_to_them(
    changed: list[str],
) -> None:
    """RFC 2033 §4.2: the client counts them."""

    class Filtering:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            envelope.rcpt_tos = changed

    async with talk(Filtering(), server_class=LMTP) as client:
        replies = await send(client, *RECIPIENTS)
        assert [reply[:3] for reply in replies] == ["250"] * 3
        assert await client.is_usable()


async def test_the_chunks_of_bdat_have_one_reply_each_but_the_last() -> None:
    async with talk(handler := Recorder(), server_class=LMTP) as client:
        await client.begin(*RECIPIENTS)
        await client.feed(b"BDAT 2\r\nhi")
        assert await client.hear() == "250 2.0.0 2 octets received"
        await client.feed(b"BDAT 2 LAST\r\n\r\n")
        assert [(await client.hear())[:3] for _ in RECIPIENTS] == ["250"] * 3
        assert await client.is_usable()
    assert handler.contents == [b"hi\r\n"]


async def test_a_chunk_that_is_too_much_is_refused_once_and_the_last_for_each() -> None:
    async with talk(server_class=LMTP, data_size_limit=10) as client:
        await client.begin(*RECIPIENTS)
        await client.feed(b"BDAT 11\r\n12345678901")
        assert (await client.hear()).startswith("552 ")
        assert await client.is_usable()
        await client.begin(*RECIPIENTS)
        await client.feed(b"BDAT 11 LAST\r\n12345678901")
        assert [(await client.hear())[:3] for _ in RECIPIENTS] == ["552"] * 3
        assert await client.is_usable()


async def test_lhlo_calls_the_hook_of_ehlo() -> None:
    class Greeter:
        async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, *args: Any) -> list[str]:
            return ["mx.test", f"X-{args[0]}"]

    async with talk(Greeter(), server_class=LMTP, is_greeted=False) as client:
        assert await client.hear() == "220 mx.test LMTP ehlo"
        assert await client.ask("LHLO client.example") == "250-mx.test\n250 X-client.example"
        assert client.server.session.extended_smtp
        assert await client.ask("LHLO") == "501 Syntax: LHLO hostname"


async def test_help_knows_lhlo_and_not_ehlo() -> None:
    async with talk(server_class=LMTP) as client:
        verbs = (await client.ask("HELP")).split()
        assert "LHLO" in verbs
        assert not {"HELO", "EHLO"} & set(verbs)
        assert await client.ask("HELP LHLO") == "214 2.0.0 Syntax: LHLO hostname"


async def test_a_transaction_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with talk(Deciding(["250 2.0.0 Stored", "452 4.2.2 Full", None]), server_class=LMTP) as client:
        await send(client, *RECIPIENTS)
    (line,) = (record.getMessage() for record in caplog.records if "from=<" in record.getMessage())
    assert "to=3" in line
