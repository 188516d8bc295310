"""DSN (RFC 3461): RET and ENVID of a message, NOTIFY and ORCPT of each recipient, and what RFC 6533 adds to ORCPT."""

from __future__ import annotations

import pytest

from ehlo import LMTP, SMTP, Envelope, Session
from ehlo.protocol.parameters import Notify, OriginalRecipient, Ret
from tests.extensions.support import Declares, offer
from tests.support import Client, Recorder, talk

NO = "501 5.5.4 Syntax error in {} parameter"
FAILURE, SUCCESS, DELAY, NEVER = Notify.FAILURE, Notify.SUCCESS, Notify.DELAY, Notify.NEVER


class Reports(Recorder):
    """Will send notifications."""

    honours = frozenset({"DSN"})


async def original(client: Client, value: str) -> OriginalRecipient | None:
    """The typed value of an ORCPT that must be accepted."""
    assert await client.ask(f"RCPT TO:<b@example.com> ORCPT={value}") == "250 2.1.5 OK"
    return client.server.envelope.recipients[-1].parameters.orcpt


@pytest.mark.parametrize("server_class", [SMTP, LMTP])
async def test_it_is_offered_where_it_is_declared(server_class: type[SMTP]) -> None:
    async with talk(Reports(), server_class=server_class) as client:
        assert (await offer(client))["DSN"] == ""


async def test_without_a_declaration_no_parameter_of_it_is_known() -> None:
    async with talk(Declares(())) as client:
        assert "DSN" not in await offer(client)
        for option in ("RET=FULL", "ENVID=x"):
            assert (await client.ask(f"MAIL FROM:<a@example.com> {option}")).startswith("555 5.5.4 ")
        await client.ask("MAIL FROM:<a@example.com>")
        for option in ("NOTIFY=NEVER", "ORCPT=rfc822;b@example.com"):
            assert (await client.ask(f"RCPT TO:<b@example.com> {option}")).startswith("555 5.5.4 ")


async def test_it_is_not_known_after_helo() -> None:
    async with talk(Reports(), is_greeted=False) as client:
        await client.hear()
        await client.ask("HELO client.example")
        assert (await client.ask("MAIL FROM:<a@example.com> RET=FULL")).startswith("555 5.5.4 ")


async def test_each_parameter_belongs_to_its_command() -> None:
    async with talk(Reports()) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> NOTIFY=NEVER")).startswith("555 5.5.4 ")
        await client.begin()
        assert (await client.ask("RCPT TO:<b@example.com> RET=FULL")).startswith("555 5.5.4 ")


@pytest.mark.parametrize(("value", "ret"), [("FULL", Ret.FULL), ("HDRS", Ret.HDRS), ("hdrs", Ret.HDRS)])
async def test_ret(value: str, ret: Ret) -> None:
    async with talk(Reports()) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> RET={value}") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.ret is ret
        assert client.server.envelope.mail_options == [f"RET={value}"]


@pytest.mark.parametrize("value", ["", "=", "=HEADERS", "=FULL,HDRS", "=FULL RET=FULL"])
async def test_what_is_no_ret_is_refused(value: str) -> None:
    async with talk(Reports()) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> RET{value}")).startswith("501 5.5.4 ")


@pytest.mark.parametrize(
    ("value", "envid"),
    [
        ("QQ314159", "QQ314159"),
        ("a+2Bb+3Dc", "a+b=c"),
        ("a+2bb", "a+b"),  # lower case, as Exim writes it in AUTH=
        ("x" * 100, "x" * 100),
        ("+20", " "),
    ],
)
async def test_envid_is_decoded(value: str, envid: str) -> None:
    async with talk(Reports()) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> ENVID={value}") == "250 2.1.0 OK"
        assert client.server.envelope.mail_parameters.envid == envid
        assert client.server.envelope.mail_options == [f"ENVID={value}"]


@pytest.mark.parametrize("value", ["", "=", "=+", "=+2", "=+XY", "=+0D+0A", "=+00", "=" + "x" * 101, "=ü"])
async def test_what_is_no_envid_is_refused(value: str) -> None:
    async with talk(Reports()) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> ENVID{value}")).startswith("501 5.5.4 ")


@pytest.mark.parametrize(
    ("value", "notify"),
    [
        ("NEVER", NEVER),
        ("SUCCESS", SUCCESS),
        ("FAILURE", FAILURE),
        ("DELAY", DELAY),
        ("SUCCESS,FAILURE,DELAY", SUCCESS | FAILURE | DELAY),
        ("delay,Failure", DELAY | FAILURE),
    ],
)
async def test_notify(value: str, notify: Notify) -> None:
    async with talk(Reports()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask(f"RCPT TO:<b@example.com> NOTIFY={value}") == "250 2.1.5 OK"
        (recipient,) = client.server.envelope.recipients
        assert recipient.parameters.notify == notify
        assert recipient.options == (f"NOTIFY={value}",)


@pytest.mark.parametrize("value", ["", "=", "=,", "=ALWAYS", "=NEVER,SUCCESS", "=SUCCESS,NEVER", "=NEVER NOTIFY=NEVER"])
async def test_what_is_no_notify_is_refused(value: str) -> None:
    # RFC 3461 §4.1: NEVER "MUST appear by itself".
    async with talk(Reports()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert (await client.ask(f"RCPT TO:<b@example.com> NOTIFY{value}")).startswith("501 5.5.4 ")
        assert client.server.envelope.rcpt_tos == []


@pytest.mark.parametrize(
    ("value", "address_type", "address"),
    [
        ("rfc822;Bob@Example.COM", "rfc822", "Bob@Example.COM"),
        ("RFC822;bob+2Btag@example.com", "RFC822", "bob+tag@example.com"),
        ("x-fax;+2B49+20123", "x-fax", "+49 123"),
        ("rfc822;", "rfc822", ""),
        ("utf-8;j\\x{F6}rg@example.com", "utf-8", "jörg@example.com"),
        ("UTF-8;a\\x{2B}b\\x{3D}c@example.com", "UTF-8", "a+b=c@example.com"),
        ("utf-8;jörg@example.com", "utf-8", "jörg@example.com"),
        (f"rfc822;{'x' * 493}", "rfc822", "x" * 493),
    ],
)
async def test_orcpt_is_decoded_and_kept_as_it_was_sent(value: str, address_type: str, address: str) -> None:
    async with talk(Reports()) as client:
        await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")
        assert await original(client, value) == OriginalRecipient(address_type, address, value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "=",
        "=bob@example.com",
        "=;bob@example.com",
        "=rfc822;a+b@example.com",
        "=rfc822;jörg@example.com",
        "=rfc822;a+0D+0Ab",
        "=utf-8;",
        "=utf-8;\\x{D}\\x{A}",
        "=utf-8;\\x{D800}",
        "=utf-8;\\x{85}",
        "=rfc(822;b@example.com",
        f"=rfc822;{'x' * 494}",
        "=rfc822;b@example.com ORCPT=rfc822;c@example.com",
    ],
)
async def test_what_is_no_orcpt_is_refused(value: str) -> None:
    async with talk(Reports()) as client:
        await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")
        assert (await client.ask(f"RCPT TO:<b@example.com> ORCPT{value}")).startswith("501 5.5.4 ")


async def test_utf_8_in_orcpt_needs_smtputf8() -> None:
    async with talk(Reports(), enable_SMTPUTF8=False) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask("RCPT TO:<b@example.com> ORCPT=utf-8;jörg@example.com") == NO.format("ORCPT")
        # The form in ASCII is for servers like this one.
        assert await original(client, "utf-8;j\\x{F6}rg@example.com") is not None


async def test_each_recipient_keeps_its_own() -> None:
    handler = Reports()
    async with talk(handler) as client:
        await client.ask("MAIL FROM:<a@example.com> RET=HDRS ENVID=Abc")
        await client.ask("RCPT TO:<b@example.com> NOTIFY=Never")
        await client.ask("RCPT TO:<c@example.com>")
        await client.ask("RCPT TO:<d@example.com> ORCPT=rfc822;D@example.com NOTIFY=success")
        await client.ask("DATA")
        await client.ask(".")
    (envelope,) = handler.envelopes
    assert [(str(each), each.options) for each in envelope.recipients] == [
        ("b@example.com", ("NOTIFY=Never",)),
        ("c@example.com", ()),
        ("d@example.com", ("ORCPT=rfc822;D@example.com", "NOTIFY=success")),
    ]
    assert [each.parameters.notify for each in envelope.recipients] == [NEVER, None, SUCCESS]
    assert (envelope.mail_parameters.ret, envelope.mail_parameters.envid) == (Ret.HDRS, "Abc")


async def test_the_same_recipient_may_come_twice_with_other_wishes() -> None:
    async with talk(Reports()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.com> NOTIFY=NEVER")
        await client.ask("RCPT TO:<b@example.com> NOTIFY=DELAY")
        assert [each.parameters.notify for each in client.server.envelope.recipients] == [NEVER, DELAY]


class Forwards(Reports):
    """Sends on to somebody else, and lets some pass."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(f"{address.partition('@')[0]}@elsewhere.example")
        return "250 2.1.5 OK"


async def test_they_follow_a_recipient_that_a_hook_replaces() -> None:
    # RFC 3461 §5.2.7.1: a forwarded message keeps the original recipient's ORCPT and NOTIFY.
    async with talk(Forwards()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.com> NOTIFY=NEVER ORCPT=rfc822;b@example.com")
        (recipient,) = client.server.envelope.recipients
        assert recipient == "b@elsewhere.example"
        assert recipient.options == ("NOTIFY=NEVER", "ORCPT=rfc822;b@example.com")


async def test_lines_may_be_as_long_as_the_parameters_need() -> None:
    # RFC 3461 §5.4: the limit grows, and the longest of everything still passes.
    local_part, domain = "x" * 64, "y" * 63 + ".example"
    async with talk(Reports()) as client:
        line = f"MAIL FROM:<{local_part}@{domain}> RET=FULL SIZE=10 BODY=8BITMIME SMTPUTF8 ENVID={'e' * 100}"
        assert await client.ask(line) == "250 2.1.0 OK"
        line = f"RCPT TO:<{local_part}@{domain}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'o' * 493}"
        assert len(line) > 512
        assert await client.ask(line) == "250 2.1.5 OK"


async def test_lines_do_not_grow_where_it_is_not_offered() -> None:
    async with talk(pass_parameters={"ORCPT"}) as client:
        await client.begin()
        assert (await client.ask(f"RCPT TO:<b@example.com> ORCPT={'o' * 600}")).startswith("500 5.5.2 ")
