"""What each verb says and records: the bookkeeping around hooks, and the limits."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import SMTP, Envelope, Recipient, Reply, Session
from ehlo.protocol.parameters import NO_MAIL_PARAMETERS, NO_RECIPIENT_PARAMETERS, Body, Notify
from ehlo.testing import FakeClockLoop
from tests.support import Recorder, talk, with_fake_clock

if TYPE_CHECKING:
    from tests.support import Client


def keywords(reply: str) -> dict[str, str]:
    """The keywords of an EHLO reply with what follows each."""
    first, *lines = (line[4:] for line in reply.split("\n"))
    assert first == "mx.test"
    return dict(line.partition(" ")[::2] for line in lines)


# -- HELO and EHLO ------------------------------------------------------------------------------------------


async def test_ehlo_offers_what_the_settings_allow() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        assert keywords(await client.ask("EHLO client.example")) == {
            "PIPELINING": "",
            "SIZE": "33554432",
            "8BITMIME": "",
            "SMTPUTF8": "",
            "CHUNKING": "",
            "LIMITS": "RCPTMAX=1000",
            "ENHANCEDSTATUSCODES": "",
            "HELP": "",
        }


@pytest.mark.parametrize("limit", [None, 0])
async def test_without_a_limit_there_is_no_size_and_no_limit(limit: int | None) -> None:
    async with talk(handler := Recorder(), is_greeted=False, data_size_limit=limit) as client:
        await client.hear()
        assert "SIZE" not in keywords(await client.ask("EHLO client.example"))
        assert (await client.send("x" * 1000)).startswith("250")
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=1") == (
            "555 5.5.4 Parameters not recognized or not implemented"
        )
    assert len(handler.envelopes) == 1


async def test_without_smtputf8_there_are_no_such_addresses() -> None:
    async with talk(is_greeted=False, enable_SMTPUTF8=False) as client:
        await client.hear()
        assert "SMTPUTF8" not in keywords(await client.ask("EHLO client.example"))
        assert (await client.ask("MAIL FROM:<a@example.com> SMTPUTF8")).startswith("555 ")
        assert (await client.ask("MAIL FROM:<ä@example.com>")).startswith("553 5.6.7 ")


async def test_starttls_is_offered_where_there_is_a_context() -> None:
    async with talk(is_greeted=False, tls_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) as client:
        await client.hear()
        assert "STARTTLS" in keywords(await client.ask("EHLO client.example"))
        assert await client.ask("HELO client.example") == "250 mx.test"
        assert await client.ask("STARTTLS") == "503 5.5.1 Say EHLO first"


async def test_the_greeting_is_recorded() -> None:
    async with talk(is_greeted=False) as client:
        await client.hear()
        session = client.server.session
        assert (session.host_name, session.extended_smtp) == (None, False)
        assert await client.ask("HELO one.example") == "250 mx.test"
        assert (session.host_name, session.extended_smtp) == ("one.example", False)
        await client.ask("EHLO [192.0.2.1]")
        assert (session.host_name, session.extended_smtp) == ("[192.0.2.1]", True)
        await client.ask("HELO two.example")
        assert (session.host_name, session.extended_smtp) == ("two.example", False)


class Greeter:
    """Records a name of its own, and answers what it is told to."""

    def __init__(self, answer: Any = None, *, name: str | None = "the hook's") -> None:
        self.answer = answer
        self.name = name

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> Any:
        if self.name is not None:
            session.host_name = self.name
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> Any:
        return await self.handle_HELO(server, session, envelope, hostname)


both_greetings = pytest.mark.parametrize("verb", ["HELO", "EHLO"])


@both_greetings
@pytest.mark.parametrize("answer", [None, "250 Hi", "250 2.0.0 Hi"])
async def test_what_the_hook_recorded_of_a_greeting_stays(verb: str, answer: str | None) -> None:
    async with talk(Greeter(answer), is_greeted=False) as client:
        await client.hear()
        for _ in range(2):
            reply = await client.ask(f"{verb} client.example")
            assert reply.startswith("250" if answer is None else "250 Hi")
            assert client.server.session.host_name == "the hook's"
            assert client.server.session.extended_smtp is (verb == "EHLO")


@both_greetings
async def test_what_the_hook_did_not_record_of_a_greeting_the_server_does(verb: str) -> None:
    async with talk(Greeter("250 Hi", name=None), is_greeted=False) as client:
        await client.hear()
        await client.ask(f"{verb} one.example")
        assert client.server.session.host_name == "one.example"
        await client.ask(f"{verb} two.example")
        assert client.server.session.host_name == "two.example"


REFUSALS = ["450 4.7.1 No", "550 5.7.1 No", RuntimeError("details"), "354 Go on", "no status", ["x\r\ny"]]


@both_greetings
@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("is_greeted_before", [False, True])
async def test_what_the_hook_recorded_of_a_refused_greeting_is_undone(
    verb: str, answer: Any, is_greeted_before: bool
) -> None:
    async with talk(handler := Greeter(name=None), is_greeted=False) as client:
        await client.hear()
        if is_greeted_before:
            await client.ask("EHLO before.example")
            await client.begin()
        handler.answer, handler.name = answer, "the hook's"
        reply = await client.ask(f"{verb} client.example")
        assert reply[:4] in {"450 ", "550 ", "451 "}
        assert reply[4].isalpha()  # no enhanced status code
        session, envelope = client.server.session, client.server.envelope
        if is_greeted_before:
            assert (session.host_name, session.extended_smtp) == ("before.example", True)
            assert envelope.rcpt_tos == ["to@example.com"]
        else:
            assert (session.host_name, session.extended_smtp) == (None, False)
            assert (await client.ask("MAIL FROM:<>")).startswith("503")


async def test_a_greeting_ends_the_transaction() -> None:
    async with talk() as client:
        await client.begin()
        envelope = client.server.envelope
        await client.ask("EHLO client.example")
        assert client.server.envelope is not envelope
        assert client.server.envelope.mail_from is None


async def test_a_bad_greeting_does_not_end_the_transaction() -> None:
    async with talk() as client:
        await client.begin()
        assert await client.ask("EHLO") == "501 Syntax: EHLO hostname"
        assert await client.ask("HELO two words") == "501 Syntax: HELO hostname"
        assert client.server.envelope.rcpt_tos == ["to@example.com"]


class Offering:
    def __init__(self, *more: str, is_list: bool) -> None:
        self.more = more
        self.is_list = is_list

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str] | None:
        if self.is_list:
            return ["mx.test", *self.more]
        lines[1:] = self.more
        return None


@pytest.mark.parametrize("is_list", [True, False], ids=["returned", "changed"])
async def test_a_hook_may_change_the_offer(is_list: bool) -> None:
    async with talk(Offering("SIZE 10", "X-PLUGH", is_list=is_list), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("EHLO client.example") == "250-mx.test\n250-SIZE 10\n250 X-PLUGH"
        # And what is not offered any more is not taken any more.
        assert (await client.ask("MAIL FROM:<a@example.com> BODY=8BITMIME")).startswith("555 ")
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=10")).startswith("250 ")
        await client.ask("RCPT TO:<b@example.com>")
        await client.feed(b"BDAT 2 LAST\r\nhi")
        assert (await client.hear()).startswith("502 ")


async def test_what_a_hook_says_itself_is_the_offer() -> None:
    async with talk(Greeter(Reply(250, None, ("mx.test", "SIZE 10"))), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("EHLO client.example") == "250-mx.test\n250 SIZE 10"
        assert (await client.ask("MAIL FROM:<a@example.com> BODY=8BITMIME")).startswith("555 ")
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=10")).startswith("250 ")


@pytest.mark.parametrize("answer", [[], ["one\r\ntwo"], ["one", 5]])
async def test_a_list_that_is_no_offer_becomes_451(answer: list[Any]) -> None:
    async with talk(Greeter(answer), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("EHLO client.example") == "451 Internal error, try again later"
        assert await client.is_usable()


async def test_a_list_is_no_answer_to_helo() -> None:
    async with talk(Greeter(["250 OK"]), is_greeted=False) as client:
        await client.hear()
        assert await client.ask("HELO client.example") == "451 Internal error, try again later"


# -- MAIL ---------------------------------------------------------------------------------------------------


async def test_mail_is_recorded() -> None:
    async with talk() as client:
        assert await client.ask("MAIL FROM:<A@Example.com> SIZE=10 BODY=8bitmime SMTPUTF8") == "250 2.1.0 OK"
        envelope = client.server.envelope
        assert envelope.mail_from == "A@Example.com"
        assert envelope.mail_options == ["SIZE=10", "BODY=8bitmime", "SMTPUTF8"]
        assert envelope.smtp_utf8
        assert envelope.mail_parameters.size == 10
        assert envelope.mail_parameters.body is Body.EIGHTBITMIME


async def test_the_null_reverse_path_is_an_empty_string() -> None:
    async with talk() as client:
        assert await client.ask("MAIL FROM:<>") == "250 2.1.0 OK"
        assert client.server.envelope.mail_from == ""
        assert await client.ask("RCPT TO:<b@example.com>") == "250 2.1.5 OK"


@pytest.mark.parametrize(
    "line", ["MAIL FROM: <a@example.com>", "mail from:<a@example.com> ", "MAIL FROM:<@relay.example:a@example.com>"]
)
async def test_mail_as_real_senders_write_it(line: str) -> None:
    async with talk() as client:
        assert await client.ask(line) == "250 2.1.0 OK"
        assert client.server.envelope.mail_from == "a@example.com"


class Sender:
    """Records a sender of its own, and answers what it is told to."""

    def __init__(self, answer: Any = None, *, mail_from: str | None = None) -> None:
        self.answer = answer
        self.mail_from = mail_from

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        assert envelope.mail_from is None
        if self.mail_from is not None:
            envelope.mail_from = self.mail_from
            envelope.mail_options = ["X-MINE"]
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [None, "250 2.1.0 Welcome"])
@pytest.mark.parametrize("mail_from", ["x@example.com", ""])
async def test_what_the_hook_recorded_of_mail_stays(answer: str | None, mail_from: str) -> None:
    async with talk(Sender(answer, mail_from=mail_from)) as client:
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=1") == (answer or "250 2.1.0 OK")
        assert client.server.envelope.mail_from == mail_from
        assert client.server.envelope.mail_options == ["X-MINE"]
        assert await client.ask("RCPT TO:<b@example.com>") == "250 2.1.5 OK"


async def test_what_the_hook_did_not_record_of_mail_the_server_does() -> None:
    async with talk(Sender("250 2.1.0 Welcome")) as client:
        assert await client.ask("MAIL FROM:<a@example.com> SIZE=1") == "250 2.1.0 Welcome"
        assert client.server.envelope.mail_from == "a@example.com"
        assert client.server.envelope.mail_options == ["SIZE=1"]


@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("mail_from", [None, "x@example.com"])
async def test_what_the_hook_recorded_of_a_refused_mail_is_undone(answer: Any, mail_from: str | None) -> None:
    async with talk(Sender(answer, mail_from=mail_from)) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> SMTPUTF8 SIZE=1"))[:3] in {"450", "550", "451"}
        envelope = client.server.envelope
        assert envelope.mail_from is None
        assert envelope.mail_options == []
        assert envelope.mail_parameters is NO_MAIL_PARAMETERS
        assert not envelope.smtp_utf8
        assert (await client.ask("RCPT TO:<b@example.com>")).startswith("503")
        assert (await client.ask("MAIL FROM:<a@example.com>"))[:3] in {"450", "550", "451"}


async def test_a_mail_that_does_not_parse_leaves_nothing() -> None:
    async with talk() as client:
        for line in ("MAIL FROM:<ä@example.com>", "MAIL FROM:<a@example.com> SMTPUTF8 XYZZY", "MAIL"):
            assert (await client.ask(line))[0] == "5"
            assert client.server.envelope.mail_from is None
            assert not client.server.envelope.smtp_utf8


async def test_mail_over_the_size_does_not_reach_the_hook() -> None:
    async with talk(Sender(RuntimeError("reached")), data_size_limit=100) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> SIZE=101")).startswith("552 5.3.4")


async def test_parameters_may_be_ignored_or_passed_on() -> None:
    async with talk(ignore_parameters={"xforget"}, pass_parameters={"xkeep"}) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> XFORGET=1 XKEEP=2")).startswith("250")
        assert client.server.envelope.mail_parameters.unknown == ("XKEEP=2",)
        assert client.server.envelope.mail_options == ["XFORGET=1", "XKEEP=2"]
        assert (await client.ask("RCPT TO:<b@example.com> XFORGET=1 XKEEP=2")).startswith("250")
        assert client.server.envelope.recipients[0].parameters.unknown == ("XKEEP=2",)
        assert (await client.ask("RCPT TO:<b@example.com> XOTHER=2")).startswith("555")


async def test_local_parts_may_be_limited() -> None:
    async with talk(local_part_limit=64) as client:
        assert (await client.ask(f"MAIL FROM:<{'x' * 65}@example.com>")).startswith("553")
        assert (await client.ask(f"MAIL FROM:<{'x' * 64}@example.com>")).startswith("250")
        assert (await client.ask(f"RCPT TO:<{'x' * 65}@example.com>")).startswith("553")
        assert (await client.ask(f"RCPT TO:<{'x' * 64}@example.com>")).startswith("250")


async def test_one_mail_too_many_ends_the_session() -> None:
    async with talk(is_greeted=False, mail_limit=2) as client:
        await client.hear()
        assert keywords(await client.ask("EHLO client.example"))["LIMITS"] == "RCPTMAX=1000 MAILMAX=2"
        assert (await client.send("Hello")).startswith("250")
        assert (await client.send("Hello")).startswith("250")
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("421 ")
        assert await client.is_over()


# -- RCPT ---------------------------------------------------------------------------------------------------


async def test_rcpt_is_recorded() -> None:
    async with talk(type("DSN", (Recorder,), {"honours": {"DSN"}})()) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask("RCPT TO:<B@Example.com> NOTIFY=NEVER") == "250 2.1.5 OK"
        assert await client.ask("RCPT TO:<c@example.com>") == "250 2.1.5 OK"
        assert await client.ask("RCPT TO:<Postmaster>") == "250 2.1.5 OK"
        envelope = client.server.envelope
        assert envelope.rcpt_tos == ["B@Example.com", "c@example.com", "Postmaster"]
        assert envelope.rcpt_options == ["NOTIFY=NEVER"]
        first, second, _ = envelope.recipients
        assert (first.options, first.parameters.notify) == (("NOTIFY=NEVER",), Notify.NEVER)
        assert (second.options, second.parameters) == ((), NO_RECIPIENT_PARAMETERS)


class Receiver:
    """Records recipients of its own, and answers what it is told to."""

    def __init__(self, answer: Any = None, *rcpt_tos: str) -> None:
        self.answer = answer
        self.rcpt_tos = rcpt_tos

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        envelope.rcpt_tos.extend(self.rcpt_tos)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [None, "250 2.1.5 Known", "251 2.1.5 Will forward"])
@pytest.mark.parametrize("rcpt_tos", [("x@example.com",), ("x@example.com", "y@example.com"), ("b@example.com",)])
async def test_what_the_hook_recorded_of_rcpt_stays(answer: str | None, rcpt_tos: tuple[str, ...]) -> None:
    async with talk(Receiver(answer, *rcpt_tos), pass_parameters={"XKEEP"}) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        assert await client.ask("RCPT TO:<b@example.com> XKEEP=1") == (answer or "250 2.1.5 OK")
        envelope = client.server.envelope
        assert envelope.rcpt_tos == [*rcpt_tos]
        # Whoever they are, they are there because of what was said in this RCPT.
        assert all(isinstance(rcpt, Recipient) and rcpt.options == ("XKEEP=1",) for rcpt in envelope.rcpt_tos)


async def test_a_recipient_that_the_hook_records_as_its_own_stays_itself() -> None:
    class Own:
        async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, *args: Any) -> None:
            envelope.rcpt_tos.append(mine)

    mine = Recipient("x@example.com", ("MINE",))
    async with talk(Own()) as client:
        await client.begin()
        assert client.server.envelope.rcpt_tos[0] is mine


async def test_what_the_hook_did_not_record_of_rcpt_the_server_does() -> None:
    async with talk(Receiver("250 2.1.5 Known")) as client:
        await client.begin("b@example.com", "c@example.com", "b@example.com")
        assert client.server.envelope.rcpt_tos == ["b@example.com", "c@example.com", "b@example.com"]


@pytest.mark.parametrize("answer", REFUSALS)
@pytest.mark.parametrize("rcpt_tos", [(), ("x@example.com",), ("x@example.com", "y@example.com")])
async def test_what_the_hook_recorded_of_a_refused_rcpt_is_undone(answer: Any, rcpt_tos: tuple[str, ...]) -> None:
    async with talk(handler := Receiver(), pass_parameters={"XKEEP"}) as client:
        await client.begin("one@example.com", "two@example.com")
        handler.answer, handler.rcpt_tos = answer, rcpt_tos
        assert (await client.ask("RCPT TO:<b@example.com> XKEEP=1"))[:3] in {"450", "550", "451"}
        assert client.server.envelope.rcpt_tos == ["one@example.com", "two@example.com"]
        assert client.server.envelope.rcpt_options == []


async def test_a_hook_may_replace_the_list_of_recipients() -> None:
    class Replacing:
        async def handle_RCPT(
            self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
        ) -> str:
            if address.startswith("bad"):
                envelope.rcpt_tos = [*envelope.rcpt_tos, "x@example.com"]
                return "550 5.1.1 No"
            envelope.rcpt_tos = [*envelope.rcpt_tos, f"new-{address}"]
            return "250 2.1.5 OK"

    async with talk(Replacing()) as client:
        await client.begin("one@example.com")
        assert await client.ask("RCPT TO:<bad@example.com>") == "550 5.1.1 No"
        await client.ask("RCPT TO:<two@example.com>")
        assert client.server.envelope.rcpt_tos == ["new-one@example.com", "new-two@example.com"]


async def test_only_refused_recipients_mean_no_data() -> None:
    async with talk(Receiver("550 5.1.1 Nobody")) as client:
        await client.ask("MAIL FROM:<a@example.com>")
        await client.ask("RCPT TO:<b@example.com>")
        assert await client.ask("DATA") == "503 5.5.1 Need RCPT command"


async def test_a_recipient_over_the_limit_does_not_reach_the_hook() -> None:
    async with talk(handler := Receiver(), recipient_limit=100) as client:
        await client.begin(*[f"r{number}@example.com" for number in range(100)])
        handler.answer = RuntimeError("reached")
        assert await client.ask("RCPT TO:<b@example.com>") == "452 4.5.3 Too many recipients"
        assert await client.ask("DATA") == "354 End data with <CR><LF>.<CR><LF>"


async def test_domains_of_recipients_may_be_limited() -> None:
    async with talk(is_greeted=False, recipient_domain_limit=2) as client:
        await client.hear()
        assert keywords(await client.ask("EHLO client.example"))["LIMITS"] == "RCPTMAX=1000 RCPTDOMAINMAX=2"
        for _ in range(2):
            await client.begin("a@one.example", "a@two.example", "b@ONE.example")
            assert await client.ask("RCPT TO:<a@three.example>") == "452 4.5.3 Too many recipient domains"
            assert await client.ask("RCPT TO:<b@two.example>") == "250 2.1.5 OK"
            await client.ask("RSET")


# -- Promises of extensions that the handler declares -------------------------------------------------------


class Declaring(Recorder):
    honours = {"DELIVERBY": 120, "FUTURERELEASE": 3600}  # noqa: RUF012 - it is not changed


async def test_delivery_in_less_time_than_is_possible_is_refused() -> None:
    async with talk(Declaring()) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> BY=119;R")).startswith("501 5.5.4 ")
        assert (await client.ask("MAIL FROM:<a@example.com> BY=119;N")).startswith("250 ")
        await client.ask("RSET")
        assert (await client.ask("MAIL FROM:<a@example.com> BY=120;R")).startswith("250 ")


async def test_a_message_is_held_no_longer_than_was_offered() -> None:
    async with talk(Declaring()) as client:
        assert (await client.ask("MAIL FROM:<a@example.com> HOLDFOR=3601")).startswith("501 5.5.4 ")
        assert (await client.ask("MAIL FROM:<a@example.com> HOLDUNTIL=2999-01-01T00:00:00Z")).startswith("501 5.5.4 ")
        assert (await client.ask("MAIL FROM:<a@example.com> HOLDFOR=3600")).startswith("250 ")
        assert client.server.envelope.mail_parameters.hold_for == 3600


# -- The others ---------------------------------------------------------------------------------------------


async def test_rset_begins_a_new_envelope_before_its_hook_is_called() -> None:
    seen: list[Envelope] = []

    class Resetting:
        async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> None:
            seen.append(envelope)

    async with talk(Resetting()) as client:
        await client.begin()
        before = client.server.envelope
        assert await client.ask("RSET") == "250 2.0.0 OK"
        assert seen == [client.server.envelope]
        assert seen[0] is not before
        assert seen[0].mail_from is None


async def test_vrfy_and_expn_get_their_argument() -> None:
    class Directory:
        async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            return f"250 2.1.5 {arg}"

        async def handle_EXPN(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> Reply:
            return Reply(250, "2.1.5", (f"one@{arg}", f"two@{arg}"))

    async with talk(Directory()) as client:
        assert await client.ask("VRFY  Ann B  ") == "250 2.1.5 Ann B"
        assert await client.ask("EXPN list") == "250-2.1.5 one@list\n250 2.1.5 two@list"
        assert await client.ask("VRFY") == "501 5.5.4 Syntax: VRFY <address>"
        assert await client.ask("EXPN") == "501 5.5.4 Syntax: EXPN <list>"


async def test_etrn_is_there_for_a_handler_that_has_it() -> None:
    class Queue:
        async def handle_ETRN(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> str:
            return f"250 2.0.0 Queuing for {arg} started"

    async with talk(Queue(), is_greeted=False) as client:
        await client.hear()
        assert "ETRN" in keywords(await client.ask("EHLO client.example"))
        assert await client.ask("ETRN x.example") == "250 2.0.0 Queuing for x.example started"
        assert await client.ask("ETRN") == "501 5.5.4 Syntax: ETRN <node>"
        assert " ETRN " in await client.ask("HELP")
    async with talk() as client:
        assert " ETRN " not in await client.ask("HELP")


async def test_help_knows_the_verbs_and_how_they_are_written() -> None:
    async with talk() as client:
        assert await client.ask("HELP") == (
            "214 2.0.0 Supported commands: AUTH BDAT DATA EHLO EXPN HELO HELP MAIL NOOP QUIT RCPT RSET VRFY"
        )
        assert await client.ask("HELP help") == "214 2.0.0 Syntax: HELP [command]"
        assert await client.ask("HELP STARTTLS") == "504 5.5.4 No help on that"
        assert await client.ask("HELP xyzzy") == "504 5.5.4 No help on that"


async def test_quit_is_the_last_word() -> None:
    async with talk(handler := Recorder()) as client:
        await client.begin()
        await client.say("QUIT", "DATA", "Hello", ".", "NOOP")
        assert await client.hear_all() == ["221 2.0.0 Bye"]
    assert handler.envelopes == []


async def test_quit_that_is_not_to_be_is_quit_nevertheless() -> None:
    class Clingy:
        async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            return "550 5.0.0 Stay"

    async with talk(Clingy()) as client:
        assert await client.ask("QUIT") == "550 5.0.0 Stay"
        assert await client.is_over()


async def _errors(client: Client, lines: list[str]) -> list[str]:
    return [(await client.ask(line))[:3] for line in lines]


async def test_what_an_honest_client_runs_into_is_no_error() -> None:
    """552 and 452 do not bring 421 nearer, and neither does what a hook refuses."""
    async with talk(Receiver("550 5.1.1 Nobody"), error_limit=2, data_size_limit=100) as client:
        assert await _errors(client, ["MAIL FROM:<a@example.com> SIZE=101"] * 5) == ["552"] * 5
        await client.ask("MAIL FROM:<a@example.com>")
        assert await _errors(client, ["RCPT TO:<b@example.com>"] * 5) == ["550"] * 5
        assert await client.is_usable()


async def test_errors_are_counted_over_the_whole_session() -> None:
    async with talk(error_limit=5) as client:
        lines = ["XYZZY", "MAIL", "MAIL FROM:<nobody>", "DATA"]
        assert await _errors(client, lines) == ["500", "501", "553", "503"]
        assert await client.is_usable()
        await client.ask("RSET")
        assert await client.ask("RCPT TO:<x@example.com>") == "503 5.5.1 Need MAIL command"
        assert await client.hear() == "421 4.7.0 Too many errors, closing connection"


@pytest.mark.parametrize(
    ("limit", "verb", "allowed"),
    [
        (3, "NOOP", 3),
        ({"NOOP": 2}, "NOOP", 2),
        ({"noop": 2}, "noop", 2),
        ({"RSET": 1}, "NOOP", 20),
        ({"*": 4}, "NOOP", 4),
    ],
)
async def test_a_verb_may_come_so_often(limit: Any, verb: str, allowed: int) -> None:
    async with talk(command_call_limit=limit) as client:
        assert await _errors(client, [verb] * allowed) == ["250"] * allowed
        assert await client.ask(verb) == f"421 4.7.0 {verb.upper()} sent too many times"
        assert await client.is_over()


@with_fake_clock
async def test_time_does_not_run_while_a_client_is_told_much() -> None:
    """The time of a command begins when we wait for it, not when the one before began."""
    async with talk() as client:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, FakeClockLoop)
        for _ in range(5):
            loop.advance(200)
            assert await client.is_usable()
