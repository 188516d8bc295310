from __future__ import annotations

import argparse
import asyncio
import re
import smtplib
import ssl
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trustme

from ehlo import LMTP, SMTP, BareNewlines, Reply
from ehlo.handlers import Proxy
from ehlo.handlers.proxy import LOST, ConversionNeeded, _lost
from ehlo.net.client import Client, ClientTimeouts
from ehlo.protocol.client import UpstreamError
from ehlo.protocol.parameters import Body, MailParameters
from ehlo.session import Envelope, Session
from tests.handlers.support import CONTENT, HOST, parser_error, transact
from tests.handlers.upstream import FAILURES, STAGES, UnreliableLMTP, UnreliableSMTP, Upstream, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ehlo import SMTPServer

SOON = 0.05
UNREACHABLE = (451, "4.4.1")
CONNECTION_LOST = (451, "4.4.2")
NOT_NOW = (450, "4.7.1")
NEVER = (554, "5.7.1")
GOING = (451, "4.7.0")


class Relay(NamedTuple):
    """A proxy between a client and a next server."""

    client: Client
    proxy: Proxy
    upstream: Upstream
    front: SMTPServer
    back: SMTPServer


@asynccontextmanager
async def relay(
    *,
    upstream: Upstream | None = None,
    front: dict[str, Any] | None = None,
    back: dict[str, Any] | None = None,
    greets: bool = True,
    **options: Any,
) -> AsyncIterator[Relay]:
    """``front`` and ``back`` are for the two servers, ``options`` for the proxy."""
    upstream = upstream or Upstream()
    front = {"hostname": "relay.example", **(front or {})}
    back = {"protocol": UnreliableLMTP if options.get("lmtp") else UnreliableSMTP, **(back or {})}
    async with running(upstream, **back) as back_server:
        port = None if "unix_path" in options else back_server.port
        proxy = Proxy(None if port is None else HOST, port or 0, **options)
        async with running(proxy, **front) as front_server:
            lmtp = front.get("protocol") is LMTP
            async with Client.connect(HOST, front_server.port, local_hostname="client.example", lmtp=lmtp) as client:
                if greets:
                    assert (await client.ehlo()).is_positive
                yield Relay(client, proxy, upstream, front_server, back_server)
        assert proxy.clients == {}


def status(reply: Reply) -> tuple[int, str | None]:
    return reply.code, reply.enhanced


# What goes through


async def test_a_message_is_relayed_with_a_received_field_in_front() -> None:
    async with relay() as at:
        reply = await transact(at.client, recipients=("one@example.com", "two@example.com"))
        assert reply.code == 250
        ((sender, recipients, content),) = at.upstream.messages
    assert (sender, recipients) == ("from@example.com", ["one@example.com", "two@example.com"])
    assert re.fullmatch(
        rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\r\n"
        rb"\tby relay\.example with ESMTP id [0-9a-f-]+;\r\n"
        rb"\t[^\r\n]+\r\n" + re.escape(CONTENT),
        content,
    )


async def test_a_client_that_blocks_is_served_too() -> None:
    def send(port: int) -> dict[str, tuple[int, bytes]]:
        with smtplib.SMTP(HOST, port, local_hostname="client.example") as client:
            return client.sendmail("from@example.com", ["to@example.com"], CONTENT)

    async with relay() as at:
        assert await asyncio.to_thread(send, at.front.port) == {}
        assert at.upstream.messages[0][2].endswith(CONTENT)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(250, "2.6.0", ("Queued as 4711", "and this is a second line")),
        Reply(251, "2.1.5", ("Will forward",)),
        Reply(452, "4.3.1", ("Disk full",)),
        Reply(550, "5.7.1", ("Spam", "https://example.com/spam")),
    ],
    ids=str,
)
async def test_the_reply_of_the_next_server_is_the_reply(answer: Reply) -> None:
    async with relay() as at:
        at.upstream.status = answer
        assert await transact(at.client) == answer


async def test_replies_to_mail_and_rcpt_are_those_of_the_next_server() -> None:
    class Choosy(Upstream):
        async def handle_MAIL(self, *_: object) -> Reply:
            return Reply(250, "2.1.0", ("Sender fine", "really"))

        async def handle_RCPT(self, _1: object, _2: object, _3: object, address: str, _4: object) -> str:
            return "550 5.1.1 Nobody here" if address.startswith("nobody") else "251 2.1.5 Somewhere else"

    async with relay(upstream=Choosy()) as at:
        assert await at.client.mail("a@b") == Reply(250, "2.1.0", ("Sender fine", "really"))
        assert await at.client.rcpt("nobody@b") == Reply(550, "5.1.1", ("Nobody here",))
        assert await at.client.rcpt("c@d") == Reply(251, "2.1.5", ("Somewhere else",))
        assert isinstance(await at.client.data(CONTENT), Reply)
        assert [recipients for _, recipients, _ in at.upstream.messages] == [["c@d"]]


async def test_the_null_reverse_path_stays_null() -> None:
    async with relay() as at:
        await at.client.mail("")
        await at.client.rcpt("c@d")
        await at.client.data(CONTENT)
        assert at.upstream.messages[0][0] == ""


async def test_content_goes_on_while_it_comes() -> None:
    async with relay() as at:

        async def chunks() -> AsyncIterator[bytes]:
            yield b"Subject: x\r\n\r\n" + b"first\r\n" * 100
            await at.upstream.received.wait()
            yield b"last\r\n"

        assert (await transact(at.client, chunks())).code == 250
        assert at.upstream.messages[0][2].endswith(b"first\r\nlast\r\n")


async def test_one_upstream_connection_carries_all_messages_of_a_session() -> None:
    async with relay() as at:
        for _ in range(3):
            assert (await transact(at.client)).code == 250
        assert len(at.upstream.messages) == 3
        assert at.upstream.sessions == 1


async def test_sessions_have_upstream_connections_of_their_own() -> None:
    async with relay() as at, Client.connect(HOST, at.front.port) as other:
        await other.ehlo()
        await at.client.mail("one@example.com")
        await other.mail("two@example.com")
        for client in (at.client, other):
            await client.rcpt("to@example.com")
            await client.data(CONTENT)
        assert [sender for sender, _, _ in at.upstream.messages] == ["one@example.com", "two@example.com"]
        assert at.upstream.sessions == 2


# Whatever fails upstream: no 250, no message there, and the session goes on

EXPECTED = {
    # A server that cannot be talked to is not the message's fault, whatever it says.
    **{(stage, failure): UNREACHABLE for stage in ("CONNECT", "EHLO") for failure in FAILURES},
    **{(stage, failure): CONNECTION_LOST for stage in STAGES[2:] for failure in FAILURES},
    **{(stage, "refuses for now"): NOT_NOW for stage in STAGES[2:]},
    **{(stage, "refuses for ever"): NEVER for stage in STAGES[2:]},
    **{(stage, "says goodbye"): GOING for stage in STAGES[2:]},
}
del EXPECTED["DATA", "goes on"]  # that is what the reply to DATA is


# The timeout that ends the wait at a stage.
WAITS = {
    "CONNECT": "greeting",
    "EHLO": "command",
    "MAIL": "mail",
    "RCPT": "rcpt",
    "DATA": "data",
    "CONTENT": "end",
    "END": "end",
}


def patience(stage: str, failure: str) -> ClientTimeouts:
    return ClientTimeouts(**{WAITS[stage]: SOON}) if failure == "is silent" else ClientTimeouts()


@pytest.mark.parametrize(("stage", "failure"), EXPECTED, ids=map(" ".join, EXPECTED))
async def test_a_failure_upstream_never_becomes_a_250(stage: str, failure: str) -> None:
    async with relay(timeout=patience(stage, failure)) as at:
        upstream = at.upstream
        upstream.fails_at, upstream.failure = stage, failure

        async def chunks() -> AsyncIterator[bytes]:
            yield CONTENT
            if stage == "CONTENT":
                await upstream.failed.wait()
            yield b"more\r\n" * 10_000

        reply = await transact(at.client, chunks())
        assert status(reply) == EXPECTED[stage, failure]
        assert upstream.failed.is_set()
        assert upstream.messages == []
        # The session survives, and so does the next message.
        upstream.fails_at = ""
        at.proxy.timeout = ClientTimeouts()
        assert (await at.client.rset()).code == 250
        assert (await transact(at.client)).code == 250
        assert len(upstream.messages) == 1


async def test_a_next_server_that_is_not_there_is_451() -> None:
    async with relay() as at:
        await at.back.stop()
        assert status(await at.client.mail("a@b")) == UNREACHABLE
        assert status(await at.client.mail("a@b")) == UNREACHABLE


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_connection_that_is_no_good_any_more_is_replaced(failure: str) -> None:
    async with relay() as at:
        assert (await transact(at.client)).code == 250
        (upstream_client,) = at.proxy.clients.values()
        upstream_client.timeouts = patience("EHLO", failure)
        at.upstream.fails_at, at.upstream.failure = "RSET", failure
        assert (await transact(at.client)).code == 250
        assert at.upstream.sessions == 2


async def test_a_next_server_that_left_between_two_messages_is_called_again() -> None:
    async with relay() as at:
        assert (await transact(at.client)).code == 250
        for connection in at.back.connections:
            connection.stop()
        await at.upstream.ended.wait()
        assert (await transact(at.client)).code == 250
        assert at.upstream.sessions == 2


async def test_when_the_connection_is_lost_no_later_command_of_the_transaction_succeeds() -> None:
    async with relay() as at:
        await at.client.mail("a@b")
        assert (await at.client.rcpt("c@d")).is_positive
        at.upstream.fails_at, at.upstream.failure = "RCPT", "drops"
        assert status(await at.client.rcpt("e@f")) == CONNECTION_LOST
        assert status(await at.client.rcpt("g@h")) == CONNECTION_LOST
        reply = await at.client.data(CONTENT)
        assert isinstance(reply, Reply)
        assert status(reply) == CONNECTION_LOST
        assert at.upstream.messages == []


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
async def test_a_421_from_upstream_does_not_end_our_session(stage: str) -> None:
    async with relay() as at:
        at.upstream.fails_at, at.upstream.failure = stage, "says goodbye"
        reply = await transact(at.client)
        assert reply == Reply(451, "4.7.0", ("Going away",))
        assert (await at.client.noop()).code == 250


async def test_a_421_without_enhanced_status_code_gets_one() -> None:
    class Plain(UnreliableSMTP):
        async def smtp_MAIL(self, arg: str | None) -> None:
            await self.push(b"421 Bye")

    async with relay(back={"protocol": Plain}) as at:
        assert await at.client.mail("a@b") == Reply(451, "4.4.2", ("Bye",))


async def test_a_positive_reply_amid_the_content_is_no_acceptance() -> None:
    class Hasty(Upstream):
        async def handle_DATA_STREAM(self, server: SMTP, *_: Any) -> str:
            await server.push("250 2.0.0 I have seen enough")
            self.failed.set()
            return "250 2.0.0 I have"

    async with relay(upstream=Hasty()) as at:

        async def chunks() -> AsyncIterator[bytes]:
            yield CONTENT
            await at.upstream.failed.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            yield CONTENT

        assert status(await transact(at.client, chunks())) == CONNECTION_LOST


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO"])
async def test_a_connection_that_cannot_be_used_is_closed(stage: str) -> None:
    async with relay() as at:
        at.upstream.fails_at, at.upstream.failure = stage, "refuses for now"
        assert status(await at.client.mail("a@b")) == UNREACHABLE
        await at.upstream.ended.wait()


def test_whatever_an_error_carries_it_never_becomes_a_250() -> None:
    error = UpstreamError("lost", reply=Reply(250, None, ("OK",)))
    assert _lost(Session(), "DATA", error) == LOST


def test_without_an_upstream_connection_nothing_is_accepted() -> None:
    async def run() -> None:
        proxy = Proxy("next.example")
        server, session, envelope = SMTP(proxy), Session(), Envelope()
        assert await proxy.handle_RCPT(server, session, envelope, "c@d", []) == LOST

        async def chunks() -> AsyncIterator[bytes]:
            yield CONTENT

        assert await proxy.handle_DATA_STREAM(server, session, envelope, chunks()) == LOST

    asyncio.run(run())


async def test_a_transaction_that_is_not_the_proxys_own_is_not_relayed() -> None:
    class Lax(Proxy):
        async def handle_RCPT(self, *_: object) -> str:
            return "250 2.1.5 Whoever you are"

    upstream = Upstream()
    async with running(upstream) as back, running(Lax(HOST, back.port)) as front:
        async with Client.connect(HOST, front.port) as client:
            await client.ehlo()
            assert status(await transact(client)) == (451, "4.3.0")
            assert status(await transact(client)) == (451, "4.3.0")
        assert upstream.sessions == 1
        assert upstream.messages == []


# What must not go through


async def test_a_message_that_breaks_off_is_not_ended_upstream() -> None:
    async with relay() as at:
        other = await Client.connect(HOST, at.front.port)
        await other.ehlo()

        async def chunks() -> AsyncIterator[bytes]:
            yield CONTENT
            await at.upstream.received.wait()
            raise ConnectionAbortedError("the client's end")

        with pytest.raises(ConnectionAbortedError):
            await transact(other, chunks())
        await at.upstream.ended.wait()
        assert at.upstream.ends == ["closed"]
        assert at.upstream.messages == []


@pytest.mark.parametrize(
    ("content", "front", "refusal"),
    [
        pytest.param(CONTENT + b"x" * 2000, {"data_size_limit": 2000}, (552, "5.3.4"), id="too big"),
        pytest.param(CONTENT + b"x\n.\n\r\n", {}, (550, "5.6.11"), id="bare LF refused in front"),
        pytest.param(CONTENT + b"x\n.\n", {"bare_newlines": BareNewlines.KEEP}, (550, "5.6.11"), id="bare LF kept"),
        pytest.param(CONTENT + b"x\r.\r", {"bare_newlines": BareNewlines.KEEP}, (550, "5.6.11"), id="bare CR kept"),
        pytest.param(b"Received: hop\r\n" * 100 + CONTENT, {}, (554, "5.4.6"), id="loop"),
    ],
)
async def test_a_message_that_must_not_go_on_is_refused_and_not_ended_upstream(
    content: bytes, front: dict[str, Any], refusal: tuple[int, str]
) -> None:
    async with relay(front=front) as at:
        for verb in ("MAIL FROM:<a@b>", "RCPT TO:<c@d>"):
            assert (await at.client.command(verb)).code == 250
        assert (await at.client.command("DATA")).code == 354
        # By hand: our client does not send such a thing.
        at.client._wire.write(content + b"\r\n.\r\n")
        assert status(await at.client._reply(5, "the end")) == refusal
        assert at.upstream.messages == []
        assert (await transact(at.client)).code == 250
        assert len(at.upstream.messages) == 1


@pytest.mark.parametrize(("fields", "code"), [(9, 250), (10, 554)])
async def test_the_hop_limit_can_be_chosen(fields: int, code: int) -> None:
    async with relay(hop_limit=10) as at:
        assert (await transact(at.client, b"Received: hop\r\n" * fields + CONTENT)).code == code


async def test_newlines_that_the_server_normalizes_are_relayed() -> None:
    async with relay(front={"bare_newlines": BareNewlines.NORMALIZE}) as at:
        await at.client.mail("a@b")
        await at.client.rcpt("c@d")
        assert (await at.client.command("DATA")).code == 354
        at.client._wire.write(b"Subject: x\n\ny\r\n.\r\n")
        assert (await at.client._reply(5, "the end")).code == 250
        assert at.upstream.messages[0][2].endswith(b"\r\nSubject: x\r\n\r\ny\r\n")


EIGHT_BIT = b"Subject: x\r\n\r\nJ\xc3\xbcrgen\r\n"


DONE = (250, "2.0.0")


@pytest.mark.parametrize(
    ("missing", "mail", "rcpt", "content", "expected"),
    [
        ("8BITMIME", "a@b BODY=8BITMIME", "c@d", CONTENT, DONE),
        ("8BITMIME", "a@b BODY=7BIT", "c@d", CONTENT, DONE),
        ("8BITMIME", "a@b BODY=8BITMIME", "c@d", EIGHT_BIT, (554, "5.6.3")),
        ("8BITMIME", "a@b", "c@d", EIGHT_BIT, (554, "5.6.3")),
        ("SMTPUTF8", "a@b BODY=8BITMIME", "c@d", EIGHT_BIT, DONE),
        ("SMTPUTF8", "a@b SMTPUTF8", "c@d", CONTENT, DONE),
        ("SMTPUTF8", "a@b SMTPUTF8", "c@d", EIGHT_BIT, (550, "5.6.9")),
        ("SMTPUTF8", "ü@b SMTPUTF8", "c@d", CONTENT, (553, "5.6.7")),
        ("SMTPUTF8", "a@b SMTPUTF8", "ü@d", CONTENT, (553, "5.6.7")),
        ("", "ü@b SMTPUTF8 BODY=8BITMIME", "ü@d", EIGHT_BIT, DONE),
    ],
)
async def test_what_the_next_server_does_not_take_is_refused_and_the_rest_goes_through(
    missing: str, mail: str, rcpt: str, content: bytes, expected: tuple[int, str]
) -> None:
    async with relay() as at:
        at.upstream.missing = {missing}
        sender, *parameters = mail.split()
        reply: Any = await at.client.mail(sender, parameters)
        if reply.is_positive:
            reply = await at.client.rcpt(rcpt)
        if reply.is_positive:
            reply = await at.client.data(content)
        assert status(reply) == expected
        assert len(at.upstream.messages) == (1 if expected == DONE else 0)


@pytest.mark.parametrize("missing", ["8BITMIME", "SMTPUTF8"])
async def test_what_the_next_server_did_not_offer_is_not_offered_again(missing: str) -> None:
    async with relay() as at:
        at.upstream.missing = {missing}
        assert missing in at.client.extensions
        await at.client.mail("a@b")
        await at.client.ehlo()
        assert missing not in at.client.extensions
        assert {"8BITMIME", "SMTPUTF8"} - {missing} <= at.client.extensions.keys()


async def test_binarymime_is_neither_offered_nor_relayed() -> None:
    async with relay() as at:
        assert "BINARYMIME" not in at.client.extensions
        envelope = Envelope()
        envelope.mail_parameters = MailParameters(body=Body.BINARYMIME)
        with pytest.raises(ConversionNeeded):
            await at.proxy.handle_MAIL(SMTP(at.proxy), Session(), envelope, "a@b", ["BODY=BINARYMIME"])


@pytest.mark.parametrize(
    ("sent", "relayed"),
    [
        (["SIZE=1000", "BODY=8BITMIME"], ["SIZE=1000", "BODY=8BITMIME"]),
        (["body=8bitmime"], ["body=8bitmime"]),
        (["AUTH=<>"], []),
        (["RET=HDRS", "ENVID=x"], []),
        (["X-IGNORED=1"], []),
    ],
)
async def test_parameters_are_relayed_as_far_as_the_next_server_knows_them(sent: list[str], relayed: list[str]) -> None:
    front = {"pass_parameters": {"AUTH", "RET", "ENVID"}, "ignore_parameters": {"X-IGNORED"}}
    async with relay(front=front) as at:
        await at.client.mail("a@b", sent)
        await at.client.rcpt("c@d")
        await at.client.data(CONTENT)
        assert [envelope.mail_options for envelope in at.upstream.envelopes] == [relayed]


async def test_parameters_of_recipients_are_relayed_too() -> None:
    class Notifying(Upstream):
        honours = frozenset({"DSN"})

    front = {"pass_parameters": {"NOTIFY", "ORCPT"}}
    async with relay(upstream=Notifying(), front=front) as at:
        await at.client.mail("a@b")
        await at.client.rcpt("c@d", ["NOTIFY=NEVER", "ORCPT=rfc822;C@d"])
        await at.client.data(CONTENT)
        assert at.upstream.envelopes[0].rcpt_options == ["NOTIFY=NEVER", "ORCPT=rfc822;C@d"]


async def test_a_parameter_that_must_not_get_lost_is_refused() -> None:
    async with relay(front={"pass_parameters": {"HOLDFOR", "X-RCPT"}}) as at:
        assert status(await at.client.mail("a@b", ["HOLDFOR=60"])) == (555, "5.5.4")
        assert (await at.client.mail("a@b")).is_positive
        assert status(await at.client.rcpt("c@d", ["X-RCPT"])) == (555, "5.5.4")


# Ends


@pytest.mark.parametrize("verb", ["RSET", "EHLO again.example", "HELO again.example"])
async def test_a_transaction_that_ends_here_ends_upstream(verb: str) -> None:
    async with relay() as at:
        await at.client.mail("a@b")
        await at.client.rcpt("c@d")
        assert at.upstream.verbs[-1] == "RCPT"
        assert (await at.client.command(*verb.split())).code == 250
        assert at.upstream.verbs[-1] == "RSET"
        assert (await transact(at.client)).code == 250
        assert at.upstream.sessions == 1


async def test_a_transaction_that_ends_between_two_chunks_ends_upstream() -> None:
    async with relay() as at:
        await at.client.mail("a@b")
        await at.client.rcpt("c@d")
        at.client._wire.write(b"BDAT 14\r\nSubject: x\r\n\r\n")
        assert (await at.client._reply(5, "the chunk")).code == 250
        assert (await at.client.command("RSET")).code == 250
        await at.upstream.ended.wait()
        assert at.upstream.messages == []
        assert (await transact(at.client)).code == 250


async def test_chunks_are_relayed_as_mail_data() -> None:
    async with relay() as at:
        await at.client.mail("a@b")
        await at.client.rcpt("c@d")
        at.client._wire.write(b"BDAT 14\r\nSubject: x\r\n\r\n")
        assert (await at.client._reply(5, "the chunk")).code == 250
        at.client._wire.write(b"BDAT 9 LAST\r\n.not end\r")
        assert status(await at.client._reply(5, "the end")) == (550, "5.6.11")
        await at.client.mail("a@b")
        await at.client.rcpt("c@d")
        at.client._wire.write(b"BDAT 24 LAST\r\nSubject: x\r\n\r\n.not end\r\n")
        assert (await at.client._reply(5, "the end")).code == 250
        assert [content[-24:] for _, _, content in at.upstream.messages] == [b"Subject: x\r\n\r\n.not end\r\n"]


@pytest.mark.parametrize("says_quit", [True, False])
async def test_the_upstream_connection_ends_with_the_session(says_quit: bool) -> None:
    async with relay() as at:
        other = await Client.connect(HOST, at.front.port)
        await other.ehlo()
        await other.mail("a@b")
        await (other.quit() if says_quit else asyncio.to_thread(other.close))
        await at.upstream.ended.wait()
        assert at.upstream.ends == ["quit" if says_quit else "closed"]


@pytest.mark.parametrize("failure", ["drops", "talks nonsense", "is silent"])
async def test_a_next_server_that_does_not_answer_quit_is_left_alone(failure: str) -> None:
    async with relay(timeout=ClientTimeouts(quit=SOON)) as at:
        other = await Client.connect(HOST, at.front.port)
        await other.ehlo()
        await transact(other)
        at.upstream.fails_at, at.upstream.failure = "QUIT", failure
        assert (await other.quit()).code == 221
        await at.upstream.failed.wait()


async def test_stopping_the_proxys_server_stops_its_upstream_connections() -> None:
    async with relay() as at:
        await at.client.mail("a@b")
        await at.front.stop(grace=0)
        await at.upstream.ended.wait()
        assert at.proxy.clients == {}


# LMTP

RECIPIENTS = ("one@example.com", "two@example.com")
YES = "250 2.1.5 Delivered"
NO = "550 5.2.1 No"
LATER = "452 4.2.2 Later"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([YES, YES], (250, "2.1.5")),
        ([YES, NO], (451, "4.2.0")),
        ([NO, YES], (451, "4.2.0")),
        ([LATER, YES], (451, "4.2.0")),
        ([NO, LATER], (451, "4.2.0")),
        ([NO, NO], (550, "5.2.1")),
        ([LATER, LATER], (452, "4.2.2")),
    ],
)
async def test_of_many_lmtp_replies_an_smtp_client_gets_one_that_loses_no_mail(
    statuses: list[str], expected: tuple[int, str]
) -> None:
    async with relay(lmtp=True) as at:
        at.upstream.status = statuses
        assert status(await transact(at.client, recipients=RECIPIENTS)) == expected


async def test_an_lmtp_client_gets_the_lmtp_replies() -> None:
    async with relay(front={"protocol": LMTP}, lmtp=True) as at:
        at.upstream.status = [YES, NO]
        await at.client.mail("a@b")
        for recipient in RECIPIENTS:
            await at.client.rcpt(recipient)
        replies = await at.client.data(CONTENT)
        assert isinstance(replies, list)
        assert list(map(str, replies)) == [YES, NO]
        assert b" with LMTP id " in at.upstream.messages[0][2]


@pytest.mark.parametrize("answer", [YES, NO])
async def test_an_lmtp_client_gets_the_reply_of_an_smtp_server_for_each_recipient(answer: str) -> None:
    async with relay(front={"protocol": LMTP}) as at:
        at.upstream.status = answer
        await at.client.mail("a@b")
        for recipient in RECIPIENTS:
            await at.client.rcpt(recipient)
        replies = await at.client.data(CONTENT)
        assert isinstance(replies, list)
        assert list(map(str, replies)) == [answer, answer]


@pytest.mark.parametrize("front", [SMTP, LMTP])
async def test_an_lmtp_server_that_refuses_data_refuses_for_all(front: type[SMTP]) -> None:
    async with relay(front={"protocol": front}, lmtp=True) as at:
        at.upstream.fails_at, at.upstream.failure = "DATA", "refuses for ever"
        await at.client.mail("a@b")
        for recipient in RECIPIENTS:
            await at.client.rcpt(recipient)
        replies = await at.client.data(CONTENT)
        assert {status(reply) for reply in (replies if isinstance(replies, list) else [replies])} == {NEVER}


async def test_the_next_server_may_be_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "lmtp"
    async with relay(lmtp=True, unix_path=path, back={"unix_path": path}) as at:
        assert (await transact(at.client)).code == 250
        assert len(at.upstream.messages) == 1


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Witness(Upstream):
    tls: str | None = None

    async def handle_MAIL(self, _: object, session: Session, *_more: object) -> None:
        self.tls = session.ssl.version if session.ssl else None


async def test_starttls_is_done_if_there_is_a_context(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    upstream = Witness()
    async with relay(upstream=upstream, back={"tls_context": server_context}, tls_context=client_context) as at:
        assert (await transact(at.client)).code == 250
        assert upstream.tls == "TLSv1.3"


async def test_tls_from_the_start_is_done_if_there_is_a_context(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    upstream = Witness()
    async with relay(upstream=upstream, back={"ssl_context": server_context}, ssl_context=client_context) as at:
        assert (await transact(at.client)).code == 250
        assert upstream.tls == "TLSv1.3"


async def test_without_starttls_upstream_nothing_is_relayed(client_context: ssl.SSLContext) -> None:
    async with relay(tls_context=client_context) as at:
        assert status(await at.client.mail("a@b")) == UNREACHABLE
        assert at.upstream.verbs == ["EHLO"]
        await at.upstream.ended.wait()


async def test_with_a_certificate_of_nobody_nothing_is_relayed(server_context: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    async with relay(back={"tls_context": server_context}, tls_context=context) as at:
        assert status(await at.client.mail("a@b")) == UNREACHABLE
        assert at.upstream.verbs == ["EHLO"]


# Making one


async def test_it_says_its_servers_name_or_its_own_in_ehlo() -> None:
    names = []

    class Host(Upstream):
        async def handle_MAIL(self, _: object, session: Session, *_more: object) -> None:
            names.append(session.host_name)

    for name in (None, "own.example"):
        async with relay(upstream=Host(), local_hostname=name) as at:
            await at.client.mail("a@b")
    assert names == ["relay.example", "own.example"]


async def test_connect_can_be_extended_and_its_failure_is_451() -> None:
    class Authenticating(Proxy):
        async def connect(self, server: SMTP) -> Client:
            client = await super().connect(server)
            reply = await client.command("AUTH", "PLAIN", "AGEAYg==")
            if reply.code != 235:
                client.close()
                raise UpstreamError(f"AUTH was refused: {reply}", reply=reply)
            return client

    async with (
        running(Upstream()) as back,
        running(Authenticating(HOST, back.port)) as front,
        Client.connect(HOST, front.port) as client,
    ):
        await client.ehlo()
        assert status(await client.mail("a@b")) == UNREACHABLE


def test_there_is_one_way_to_the_next_server(client_context: ssl.SSLContext) -> None:
    with pytest.raises(ValueError, match="remote_hostname"):
        Proxy()
    with pytest.raises(ValueError, match="unix_path"):
        Proxy("next.example", unix_path="/run/lmtp")
    with pytest.raises(ValueError, match="ssl_context"):
        Proxy("next.example", ssl_context=client_context, tls_context=client_context)


def test_the_command_line_gives_host_and_port(capsys: pytest.CaptureFixture[str]) -> None:
    proxy = Proxy.from_cli(argparse.ArgumentParser(), "next.example", "2525")
    assert (proxy.remote_hostname, proxy.remote_port) == ("next.example", 2525)
    assert Proxy.from_cli(argparse.ArgumentParser(), "next.example").remote_port == 25
    for args in ([], ["next.example", "smtp"], ["a", "25", "b"]):
        assert "Proxy usage: host [port]" in parser_error(Proxy, args, capsys)


async def test_a_proxy_costs_no_thread() -> None:
    async with relay() as at:
        before = threading.active_count()
        await transact(at.client)
        assert threading.active_count() <= before
