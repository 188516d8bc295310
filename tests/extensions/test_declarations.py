"""Offered is what works, and only that: every combination of what a handler declares, with and without TLS and hooks.

And what a client says about its recipients stays with them, whatever a hook does to their list.
"""

from __future__ import annotations

import itertools
import ssl
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehlo import SMTP, Envelope, LoginPassword, Recipient, Session
from ehlo.protocol.parameters import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    Body,
    ByMode,
    DeliverBy,
    MailParameters,
    NoSupport,
    Notify,
    OriginalRecipient,
    RecipientParameters,
    RequireValidSince,
    Ret,
)
from tests.extensions.support import Declares, keywords, offer, on_tls
from tests.support import Client, Recorder, talk

if TYPE_CHECKING:
    from collections.abc import Callable

WEEK = 604_800
DECLARABLE: dict[str, object] = {
    "BINARYMIME": None,
    "DSN": None,
    "REQUIRETLS": None,
    "RRVS": None,
    "DELIVERBY": 60,
    "FUTURERELEASE": WEEK,
    "MT-PRIORITY": "MIXER",
}
ALWAYS = {"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "CHUNKING", "LIMITS", "ENHANCEDSTATUSCODES", "HELP"}


class Case(NamedTuple):
    """A parameter as a client may write it, the extension that brings it, and the typed value that it becomes."""

    extension: str
    option: str
    attribute: str
    value: Any


MAIL_CASES = (
    Case("SIZE", "Size=10", "size", 10),
    Case("8BITMIME", "Body=8bitMime", "body", Body.EIGHTBITMIME),
    Case("BINARYMIME", "Body=BinaryMime", "body", Body.BINARYMIME),
    Case("SMTPUTF8", "SmtpUtf8", "smtputf8", True),
    Case("REQUIRETLS", "RequireTls", "requiretls", True),
    Case("AUTH", "Auth=Ann+2B1@example.com", "auth", "Ann+1@example.com"),
    Case("DSN", "Ret=Hdrs", "ret", Ret.HDRS),
    Case("DSN", "EnvId=Some+20Thing", "envid", "Some Thing"),
    Case("DELIVERBY", "By=120;rT", "deliver_by", DeliverBy(120, ByMode.RETURN, trace=True)),
    Case("FUTURERELEASE", "HoldFor=3600", "hold_for", 3600),
    Case("FUTURERELEASE", "HoldUntil=2020-01-01t00:00:00z", "hold_until", datetime(2020, 1, 1, tzinfo=UTC)),
    Case("MT-PRIORITY", "Mt-Priority=-3", "mt_priority", -3),
)
SINCE = datetime(2014, 4, 3, 23, 1, 0, tzinfo=UTC)
RCPT_CASES = (
    Case("DSN", "Notify=Success,Delay", "notify", Notify.SUCCESS | Notify.DELAY),
    Case("DSN", "Orcpt=Rfc822;B@E.example", "orcpt", OriginalRecipient("Rfc822", "B@E.example", "Rfc822;B@E.example")),
    Case("RRVS", "Rrvs=2014-04-03T23:01:00z;c", "rrvs", RequireValidSince(SINCE, NoSupport.CONTINUE)),
)


def test_there_is_a_case_for_every_parameter() -> None:
    for cases, table in ((MAIL_CASES, MAIL_PARAMETERS), (RCPT_CASES, RCPT_PARAMETERS)):
        assert {case.option.partition("=")[0].upper() for case in cases} == set(table)


# Hooks, none of which refuses anything


class Records(Declares):
    """Records everything itself."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(str(address))
        return "250 2.1.5 OK"


class Withdraws(Declares):
    """Takes back some of what is offered, and has some to offer of its own."""

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        kept = [line for line in lines if line.partition(" ")[0] not in {"DSN", "SIZE", "CHUNKING", "MT-PRIORITY"}]
        return [*kept, "XOWN"]


class OffersNothing(Declares):
    """Greets in its own words."""

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> str:
        return "250 Hello"


async def nobody(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return False


HANDLERS: tuple[type[Declares], ...] = (Declares, Records, Withdraws, OffersNothing)
SUBSETS = [
    dict(chosen) for size in range(len(DECLARABLE) + 1) for chosen in itertools.combinations(DECLARABLE.items(), size)
]


async def check_mail(client: Client, offered: dict[str, str]) -> None:
    for case in MAIL_CASES:
        reply = await client.ask(f"MAIL FROM:<a@example.com> {case.option}")
        if case.extension not in offered:
            assert reply.startswith("555 5.5.4 "), case
            continue
        assert reply == "250 2.1.0 OK", case
        envelope = client.server.envelope
        assert envelope.mail_options == [case.option]
        assert envelope.mail_parameters == MailParameters(**{case.attribute: case.value})
        await client.ask("RSET")


async def check_rcpt(client: Client, offered: dict[str, str]) -> None:
    await client.ask("MAIL FROM:<a@example.com>")
    expected: list[tuple[str, tuple[str, ...], RecipientParameters]] = []
    for number, case in enumerate(RCPT_CASES):
        reply = await client.ask(f"RCPT TO:<b{number}@example.com> {case.option}")
        if case.extension not in offered:
            assert reply.startswith("555 5.5.4 "), case
            continue
        assert reply == "250 2.1.5 OK", case
        expected.append((f"b{number}@example.com", (case.option,), RecipientParameters(**{case.attribute: case.value})))
    await client.ask("RCPT TO:<last@example.com>")
    expected.append(("last@example.com", (), RecipientParameters()))
    recipients = client.server.envelope.recipients
    assert [(str(each), each.options, each.parameters) for each in recipients] == expected
    await client.ask("RSET")


async def check_commands(client: Client, offered: dict[str, str], *, is_tls: bool) -> None:
    assert ("STARTTLS" in offered) is (not is_tls and bool(offered))
    assert ("AUTH" in offered) is (is_tls and bool(offered))
    assert (await client.ask("AUTH PLAIN AGEAYg=="))[:3] == ("535" if is_tls else "538")
    await client.begin()
    await client.feed(b"BDAT 1 LAST\r\nx")
    assert (await client.hear())[:3] == ("250" if "CHUNKING" in offered else "502")
    await client.ask("RSET")


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("handler_class", HANDLERS)
async def test_what_is_offered_works_and_nothing_else(handler_class: type[Declares], is_tls: bool) -> None:
    common: dict[str, Any] = {
        "authenticator": nobody,
        "tls_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        "extra": on_tls() if is_tls else {},
    }
    for honours in SUBSETS:
        async with talk(handler_class(honours), **common) as client:
            offered = await offer(client)
            if handler_class in {Declares, Records}:
                expected = ALWAYS | honours.keys() | ({"AUTH"} if is_tls else {"STARTTLS"})
                assert offered.keys() == (expected if is_tls else expected - {"REQUIRETLS"})
            if handler_class is OffersNothing:
                assert offered == {}
            await check_mail(client, offered)
            await check_rcpt(client, offered)
            await check_commands(client, offered, is_tls=is_tls)


async def test_everything_together_works_too() -> None:
    # HOLDFOR and HOLDUNTIL exclude each other, and BY must not end before them.
    left_out = {"body", "hold_until", "deliver_by"}
    options = [case.option for case in MAIL_CASES if case.attribute not in left_out]
    values = {case.attribute: case.value for case in MAIL_CASES if case.attribute not in left_out}
    async with talk(Declares(DECLARABLE), authenticator=nobody, extra=on_tls()) as client:
        assert await client.ask("MAIL FROM:<a@example.com> " + " ".join(options)) == "250 2.1.0 OK"
        envelope = client.server.envelope
        assert envelope.mail_options == options
        assert envelope.mail_parameters == MailParameters(**values)
        options = [case.option for case in RCPT_CASES]
        assert await client.ask("RCPT TO:<b@example.com> " + "  ".join(options)) == "250 2.1.5 OK"
        (recipient,) = envelope.recipients
        assert recipient.options == tuple(options)
        assert recipient.parameters == RecipientParameters(**{case.attribute: case.value for case in RCPT_CASES})


async def test_nothing_is_known_after_helo() -> None:
    async with talk(Declares(DECLARABLE), authenticator=nobody, extra=on_tls()) as client:
        await client.ask("HELO client.example")
        await check_mail(client, {})
        await check_rcpt(client, {})


async def test_the_last_greeting_counts() -> None:
    async with talk(Declares(DECLARABLE), extra=on_tls()) as client:
        await client.ask("HELO client.example")
        offered = await offer(client)
        assert (await client.ask("MAIL FROM:<a@example.com> RET=FULL")).startswith("250 ")
        await client.ask("EHLO")  # refused: what was offered before holds
        assert (await client.ask("RCPT TO:<b@example.com> NOTIFY=NEVER")).startswith("250 ")
        assert "DSN" in offered


@pytest.mark.parametrize(
    ("honours", "error"),
    [
        ({"NONSENSE"}, ValueError),
        ({"PIPELINING"}, ValueError),
        ({"DSN": 1}, TypeError),
        ({"FUTURERELEASE": None}, TypeError),
        ({"DELIVERBY": "soon"}, TypeError),
        ({"MT-PRIORITY": 3}, TypeError),
        ("DSN", TypeError),
    ],
)
def test_what_nobody_can_declare_is_seen_at_once(honours: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        SMTP(Declares(honours))


async def test_declarations_have_no_case() -> None:
    async with talk(Declares({"dsn", "RequireTLS"}), extra=on_tls()) as client:
        assert {"DSN", "REQUIRETLS"} <= (await offer(client)).keys()


async def test_a_greeting_that_a_hook_refuses_offers_nothing_new() -> None:
    class Moody(Declares):
        async def handle_EHLO(
            self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
        ) -> str | None:
            return "550 Not you" if hostname == "bad.example" else None

    async with talk(Moody(DECLARABLE), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("EHLO bad.example") == "550 Not you"
        assert (await client.ask("MAIL FROM:<a@example.com> RET=FULL")).startswith("503 ")
        assert "DSN" in keywords(await client.ask("EHLO good.example"))


# Unknown parameters


def let(setting: str, *keywords: str) -> dict[str, Any]:
    """Let a setting be a list of keywords."""
    return {setting: keywords}


UNKNOWN = ["XKEY", "Xkey=Value", "xkey=a,b;c", "SIZED=1"]


@pytest.mark.parametrize("option", UNKNOWN)
async def test_an_unknown_parameter_is_refused(option: str) -> None:
    # RFC 5321 §4.1.1.11: 555.
    async with talk() as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> {option}")).startswith("555 5.5.4 ")
        await client.ask("MAIL FROM:<a@example.com>")
        assert (await client.ask(f"RCPT TO:<b@example.com> {option}")).startswith("555 5.5.4 ")
        assert client.server.envelope.rcpt_tos == []


@pytest.mark.parametrize("option", UNKNOWN)
@pytest.mark.parametrize("setting", ["ignore_parameters", "pass_parameters"])
async def test_it_can_be_ignored_or_passed_on(setting: str, option: str) -> None:
    keyword = option.partition("=")[0].lower()
    unknown = (option,) if setting == "pass_parameters" else ()
    async with talk(**let(setting, keyword)) as client:
        assert await client.ask(f"MAIL FROM:<a@example.com> {option} SIZE=1") == "250 2.1.0 OK"
        assert await client.ask(f"RCPT TO:<b@example.com> {option}") == "250 2.1.5 OK"
        envelope = client.server.envelope
        assert envelope.mail_parameters == MailParameters(size=1, unknown=unknown)
        assert envelope.mail_options == [option, "SIZE=1"]
        (recipient,) = envelope.recipients
        assert recipient.parameters == RecipientParameters(unknown=unknown)
        assert recipient.options == (option,)


@pytest.mark.parametrize("setting", ["ignore_parameters", "pass_parameters"])
async def test_what_was_not_offered_can_be_ignored_or_passed_on_too(setting: str) -> None:
    # Real senders say NOTIFY= to servers that do not offer DSN.
    async with talk(**let(setting, "NOTIFY", "RET")) as client:
        assert await client.ask("MAIL FROM:<a@example.com> RET=nonsense") == "250 2.1.0 OK"
        assert await client.ask("RCPT TO:<b@example.com> Notify=Never") == "250 2.1.5 OK"
        (recipient,) = client.server.envelope.recipients
        assert recipient.options == ("Notify=Never",)
        assert recipient.parameters.notify is None
        assert (await client.ask("RCPT TO:<b@example.com> ORCPT=rfc822;x")).startswith("555 ")


@pytest.mark.parametrize("setting", ["ignore_parameters", "pass_parameters"])
async def test_what_was_offered_is_read_all_the_same(setting: str) -> None:
    async with talk(Declares({"DSN"}), **let(setting, "NOTIFY", "SIZE")) as client:
        await client.ask("MAIL FROM:<a@example.com> SIZE=1")
        assert client.server.envelope.mail_parameters == MailParameters(size=1)
        assert (await client.ask("RCPT TO:<b@example.com> NOTIFY=nonsense")).startswith("501 ")


@pytest.mark.parametrize("option", ["=x", "-x", "x_y=1", "x=", "x=a=b", "x=\tb", "\u00fc=1"])
async def test_what_is_no_parameter_is_refused_before_anybody_ignores_it(option: str) -> None:
    async with talk(ignore_parameters=[option.partition("=")[0]]) as client:
        assert (await client.ask(f"MAIL FROM:<a@example.com> {option}")).startswith("501 5.5.4 ")


# Recipients and what was said about them


def appends(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.append(address)


def declines(envelope: Envelope, address: str) -> None:
    pass


def appends_another_spelling(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.append(address.lower())


def sorts(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.append(address)
    envelope.rcpt_tos.sort()


def sorts_another_spelling(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.append(address.lower())
    envelope.rcpt_tos.sort(reverse=True)


def inserts(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.insert(0, address.upper())


def replaces_the_list(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos = sorted([*envelope.rcpt_tos, address.lower()], key=len)


def sorts_only(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos.sort()


def keeps_three(envelope: Envelope, address: str) -> None:
    envelope.rcpt_tos = [*envelope.rcpt_tos, address.lower()][-3:]


KEEPS_ALL = (
    appends,
    declines,
    appends_another_spelling,
    sorts,
    sorts_another_spelling,
    inserts,
    replaces_the_list,
    sorts_only,
)
NAMES = st.lists(st.text("abAB", min_size=1, max_size=3), min_size=1, max_size=6)


class Meddles(Recorder):
    """Records recipients in its own way, and then refuses some, with what is said or with an exception."""

    honours = frozenset({"DSN"})

    def __init__(self, change: Callable[[Envelope, str], None]) -> None:
        super().__init__()
        self.change = change

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.change(envelope, address)
        if address.startswith("B"):
            return "550 5.1.1 No"
        if address.startswith("bb"):
            raise RuntimeError("details")
        return "250 2.1.5 OK"


def facts(envelope: Envelope) -> list[tuple[str, str]]:
    """Each recipient, without regard to case, and what ORCPT said of it; all ways to know it must agree."""
    found = []
    for recipient in envelope.recipients:
        (option,) = recipient.options
        assert recipient.parameters.orcpt is not None
        assert option == f"ORCPT=rfc822;{recipient.parameters.orcpt.address}"
        found.append((recipient.lower(), recipient.parameters.orcpt.address))
    assert [str(each) for each in envelope.recipients] == [str(each) for each in envelope.rcpt_tos]
    return found


async def transaction(change: Callable[[Envelope, str], None], names: list[str]) -> tuple[Envelope, Counter[Any]]:
    """The envelope that the handler gets in the end, and what should be in it."""
    handler = Meddles(change)
    accepted: Counter[Any] = Counter()
    async with talk(handler) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        for number, name in enumerate(names):
            before = list(client.server.envelope.rcpt_tos)
            reply = await client.ask(f"RCPT TO:<{name}@example.com> ORCPT=rfc822;{number}-{name}")
            if reply.startswith("250"):
                accepted[f"{name}@example.com".lower(), f"{number}-{name}"] += 1
            else:
                # A refused recipient leaves everything as it was.
                assert list(map(id, client.server.envelope.rcpt_tos)) == list(map(id, before))
        envelope = client.server.envelope
        if accepted:
            await client.ask("DATA")
            await client.ask(".")
            assert handler.envelopes == [envelope]
    return envelope, accepted


@pytest.mark.parametrize("change", KEEPS_ALL)
@settings(max_examples=25)
@given(names=NAMES)
async def test_every_recipient_keeps_what_was_said_about_it(
    change: Callable[[Envelope, str], None], names: list[str]
) -> None:
    envelope, accepted = await transaction(change, names)
    assert Counter(facts(envelope)) == accepted
    assert envelope.accepted_recipients == accepted.total()


@settings(max_examples=25)
@given(names=NAMES)
async def test_those_that_are_left_keep_it_too(names: list[str]) -> None:
    envelope, accepted = await transaction(keeps_three, names)
    found = Counter(facts(envelope))
    assert found <= accepted
    assert found.total() == min(accepted.total(), 3)


async def test_a_hook_may_filter_and_sort_before_it_stores() -> None:
    stored: list[tuple[str, tuple[str, ...]]] = []

    class Stores(Meddles):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            envelope.rcpt_tos = sorted(rcpt for rcpt in envelope.rcpt_tos if rcpt != "c@example.com")
            stored.extend((str(each), each.options) for each in envelope.recipients)

    async with talk(Stores(declines)) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        for name, notify in (("d", "NEVER"), ("c", "DELAY"), ("a", "SUCCESS")):
            await client.ask(f"RCPT TO:<{name}@example.com> NOTIFY={notify}")
        await client.ask("DATA")
        await client.ask(".")
    assert stored == [("a@example.com", ("NOTIFY=SUCCESS",)), ("d@example.com", ("NOTIFY=NEVER",))]


async def test_recipients_that_a_hook_makes_up_have_no_parameters() -> None:
    class MakesUp(Recorder):
        honours = frozenset({"DSN"})

        async def handle_MAIL(
            self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
        ) -> None:
            envelope.rcpt_tos.append("archive@example.com")

        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            envelope.rcpt_tos.append("late@example.com")
            await super().handle_DATA(server, session, envelope)

    for handler in (MakesUp(), type("Hooked", (MakesUp,), {"handle_RCPT": Records.handle_RCPT})()):
        async with talk(handler) as client:
            await client.ask("MAIL FROM:<a@example.com>")
            await client.ask("RCPT TO:<b@example.com> NOTIFY=NEVER")
            await client.ask("DATA")
            await client.ask(".")
        (envelope,) = handler.envelopes
        assert [(str(each), each.options) for each in envelope.recipients] == [
            ("archive@example.com", ()),
            ("b@example.com", ("NOTIFY=NEVER",)),
            ("late@example.com", ()),
        ]


async def test_a_recipient_is_a_text_like_any_other() -> None:
    async with talk(Declares({"DSN"})) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.com> NOTIFY=NEVER")
        (recipient,) = client.server.envelope.rcpt_tos
        assert isinstance(recipient, Recipient)
        assert recipient == "b@example.com"
        assert {"b@example.com": 1}[recipient] == 1
