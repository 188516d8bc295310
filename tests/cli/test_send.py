from __future__ import annotations

import asyncio
import io
import socket
import ssl
import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, cast

import pytest
import trustme

from ehlo import LMTP, Envelope, Reply, Session, serve
from ehlo.cli import send
from ehlo.cli.sender import Outcome, Server
from ehlo.cli.talk import CannotLogIn, Conversation, log_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Sent = tuple[int, str, str]
    Run = Callable[..., Awaitable[Sent]]

SECRET = "hunter2"


class Recorder:
    """Keeps what it is given.  ``refusals`` are statuses by hook name or recipient."""

    def __init__(self, **refusals: str) -> None:
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.refusals = refusals

    async def handle_MAIL(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> Any:
        return self.refusals.get("mail")

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> Any:
        return self.refusals.get(address.partition("@")[0])

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> Any:
        self.envelopes.append(envelope)
        self.sessions.append(session)
        if server.protocol_name == "LMTP":
            return [self.refusals.get("data_" + one.partition("@")[0], "250 2.0.0 Stored") for one in envelope.rcpt_tos]
        return self.refusals.get("data")

    @property
    def message(self) -> EmailMessage:
        """The only one."""
        [envelope] = self.envelopes
        return parsed(envelope)


class AnyBody:
    """Whose login will do."""

    async def check_password(self, question: Any, session: Session) -> bool:
        return True


def parsed(envelope: Envelope) -> EmailMessage:
    message = message_from_bytes(envelope.content or b"", policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in a thread: its exit status, and what it said."""

    async def run_there(*arguments: str) -> Sent:
        status: Any = 0
        try:
            status = await asyncio.to_thread(send.main, arguments)
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run_there


# What is sent


async def test_without_options_it_is_a_mail_that_shows_that_it_works(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        status, output, errors = await run("--server", f":{server.port}")
    assert (status, errors) == (0, "")
    assert output.startswith("Accepted: 250 2.0.0 OK queued as ")
    [envelope] = recorder.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("me@example.com", ["you@example.com"])
    message = recorder.message
    assert message["Subject"] == "Hello from ehlo"
    assert message["Date"].datetime is not None
    assert message["Message-ID"].endswith("@example.com>")
    assert message.get_content().strip() == "It works."


async def test_text_html_attachments_and_header_fields(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Überblick.bin").write_bytes(bytes(range(256)))
    (tmp_path / "other.eml").write_bytes(b"Subject: inner\n\n")
    (tmp_path / "page.html").write_text("<b>grün</b>", encoding="utf-8")
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        status, _, errors = await run(
            f"--server=:{server.port}",
            "--from=Ann <ann@a.example>",
            "--to=Bob <bob@b.example>, carl@c.example",
            "--to=dora@d.example",
            "--subject=Grüße",
            "--text=Grüß dich\n.\nAnn",
            f"--html=@{tmp_path / 'page.html'}",
            f"--attach={tmp_path / 'Überblick.bin'}",
            f"--attach={tmp_path / 'other.eml'}",
            "--header=X-Tag: eins",
            "--header=X-Tag: zwei",
            "--header=date: Sat, 01 Aug 2026 10:00:00 +0000",
        )
    assert (status, errors) == (0, "")
    [envelope] = recorder.envelopes
    assert envelope.mail_from == "ann@a.example"
    assert envelope.rcpt_tos == ["bob@b.example", "carl@c.example", "dora@d.example"]
    message = recorder.message
    assert message["From"] == "Ann <ann@a.example>"
    assert message["Subject"] == "Grüße"
    assert message.get_all("X-Tag") == ["eins", "zwei"]
    assert message.get_all("Date") == ["Sat, 01 Aug 2026 10:00:00 +0000"]
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines() == ["Grüß dich", ".", "Ann"]
    assert html.get_content().strip() == "<b>grün</b>"
    attached = list(message.iter_attachments())
    assert [part.get_filename() for part in attached] == ["Überblick.bin", "other.eml"]
    assert attached[0].get_content() == bytes(range(256))
    assert attached[1].get_content_type() == "application/octet-stream"
    assert (envelope.content or b"").isascii()


async def test_html_alone_is_no_alternative(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        await run(f"--server=:{server.port}", "--html=<b>x</b>")
    assert recorder.message.get_content_type() == "text/html"


async def test_addresses_beyond_ascii_take_smtputf8(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        assert (await run(f"--server=:{server.port}", "--to=zoë@b.example"))[0] == 0
    assert recorder.envelopes[0].smtp_utf8
    assert "To: zoë@b.example".encode() in (recorder.envelopes[0].content or b"")


async def test_a_server_without_smtputf8_is_not_sent_such_an_address(run: Run) -> None:
    async with serve(Recorder(), port=0, enable_SMTPUTF8=False) as server:
        status, _, errors = await run(f"--server=:{server.port}", "--to=zoë@b.example")
    assert status == 1
    assert "SMTPUTF8" in errors


async def test_several_go_over_one_connection_and_are_numbered(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        status, output, _ = await run(f"--server=:{server.port}", "--count=3", "--subject=Hi")
    assert status == 0
    assert output.startswith("Accepted: 3 of 3 messages, in ")
    messages = [parsed(envelope) for envelope in recorder.envelopes]
    assert [message["Subject"] for message in messages] == ["Hi (1 of 3)", "Hi (2 of 3)", "Hi (3 of 3)"]
    assert len({message["Message-ID"] for message in messages}) == 3
    assert len({session.id for session in recorder.sessions}) == 1


async def test_the_null_reverse_path(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        assert (await run(f"--server=:{server.port}", "--from="))[0] == 0
    assert recorder.envelopes[0].mail_from == ""


# A message that is there


async def test_a_file_is_sent_as_it_is_to_whom_it_names(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(b"From: A <a@a.example>\nTo: b@b.example\nCc: c@c.example\nSubject: x\n\n.dots\n\xff\n")
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        status, _, errors = await run(f"--server=:{server.port}", f"--eml={path}")
    assert (status, errors) == (0, "")
    [envelope] = recorder.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("a@a.example", ["b@b.example", "c@c.example"])
    assert envelope.content == path.read_bytes().replace(b"\n", b"\r\n")
    assert envelope.mail_options == [f"SIZE={len(envelope.content or b'')}", "BODY=8BITMIME"]


async def test_options_outdo_what_a_file_names(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mail.eml"
    path.write_bytes(b"From: a@a.example\r\nTo: b@b.example\r\n\r\n")
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        await run(f"--server=:{server.port}", f"--eml={path}", "--from=x@x.example", "--to=y@y.example")
    assert (recorder.envelopes[0].mail_from, recorder.envelopes[0].rcpt_tos) == ("x@x.example", ["y@y.example"])


async def test_a_file_may_be_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Subject: piped\n\n")))
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        assert (await run(f"--server=:{server.port}", "--eml=-"))[0] == 0
    assert recorder.message["Subject"] == "piped"


# How it went


@pytest.mark.parametrize(
    ("refusals", "status", "complaint"),
    [
        ({"mail": "550 5.7.1 No"}, 5, "MAIL FROM:<me@example.com> was refused: 550 5.7.1 No"),
        ({"you": "550 5.1.1 Who?"}, 5, "RCPT TO:<you@example.com> was refused: 550 5.1.1 Who?"),
        ({"you": "450 4.2.1 Busy"}, 4, "RCPT TO:<you@example.com> was refused: 450 4.2.1 Busy"),
        ({"data": "554 5.6.0 Spam"}, 5, "the message was refused: 554 5.6.0 Spam"),
        ({"data": "421 4.3.2 Bye"}, 4, "the message was refused: 421 4.3.2 Bye"),
    ],
)
async def test_the_exit_status_tells_how_it_was_refused(
    run: Run, refusals: dict[str, str], status: int, complaint: str
) -> None:
    async with serve(Recorder(**refusals), port=0) as server:
        said = await run(f"--server=:{server.port}")
    assert said == (status, "", f"ehlo: {complaint}\n")


async def test_one_refused_recipient_does_not_keep_the_others_from_the_mail(run: Run) -> None:
    recorder = Recorder(bad="550 5.1.1 Who?")
    async with serve(recorder, port=0) as server:
        status, output, errors = await run(f"--server=:{server.port}", "--to=bad@b.example", "--to=good@b.example")
    assert status == 5
    assert output.startswith("Accepted: 250 ")
    assert "bad@b.example" in errors
    assert recorder.envelopes[0].rcpt_tos == ["good@b.example"]


async def test_the_same_refusal_is_told_once(run: Run) -> None:
    async with serve(Recorder(you="550 5.1.1 Who?"), port=0) as server:
        status, output, errors = await run(f"--server=:{server.port}", "--count=3")
    assert status == 5
    assert output.startswith("Accepted: 0 of 3 ")
    assert errors.count("\n") == 1


async def test_nobody_there(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    status, _, errors = await run(f"--server=127.0.0.1:{port}")
    assert status == 1
    assert "is the server running?" in errors


async def test_a_greeting_that_is_a_refusal(run: Run) -> None:
    class Closed(Recorder):
        async def handle_CONNECT(self, server: Any, session: Session, envelope: Envelope) -> str:
            return "554 5.7.1 No service"

    async with serve(Closed(), port=0) as server:
        status, _, errors = await run(f"--server=:{server.port}")
    assert status == 5
    assert "No service" in errors


# The dialogue


async def test_the_dialogue_is_shown_without_credentials(run: Run) -> None:
    async with serve(
        Recorder(), port=0, authenticator=AnyBody(), auth_require_tls=False, hostname="localhost"
    ) as server:
        status, output, _ = await run(f"--server=:{server.port}", "--auth", f"ann:{SECRET}", "-v")
    assert status == 0
    lines = output.splitlines()
    assert lines[0] == "S: 220 localhost ESMTP ehlo"
    assert "C: AUTH PLAIN ********" in lines
    assert "S: 354 End data with <CR><LF>.<CR><LF>" in lines
    assert lines[-2] == "S: 221 2.0.0 Bye"
    assert SECRET not in output
    assert "AGFubgBodW50ZXIy" not in output  # the same in base64


async def test_nothing_that_a_server_says_reaches_the_terminal_raw(run: Run) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("220 \x9b31mred\u202e\r\n".encode())
        await reader.read()
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        _, output, _ = await run(f"--server=127.0.0.1:{port}", "-v", "--timeout=0.1")
    assert output.splitlines()[0] == r"S: 220 \x9b31mred\u202e"


# Logins


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
async def test_each_mechanism_that_is_offered_works(run: Run, mechanism: str) -> None:
    asked: list[tuple[str, str]] = []

    class Passwords:
        async def check_password(self, question: Any, session: Session) -> bool:
            asked.append((question.user, question.password))
            return True

        async def check_digest(self, question: Any, session: Session) -> bool:
            asked.append((question.user, SECRET if question.proves(SECRET) else ""))
            return True

    excluded = {"PLAIN", "LOGIN", "CRAM-MD5"} - {mechanism}
    async with serve(
        Recorder(), port=0, authenticator=Passwords(), auth_require_tls=False, auth_exclude_mechanism=tuple(excluded)
    ) as server:
        assert (await run(f"--server=:{server.port}", "--auth", f"ann:{SECRET}"))[0] == 0
    assert asked == [("ann", SECRET)]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


async def test_a_login_that_is_refused(run: Run) -> None:
    class Nobody:
        async def check_password(self, question: Any, session: Session) -> bool:
            return False

    async with serve(Recorder(), port=0, authenticator=Nobody(), auth_require_tls=False) as server:
        status, output, errors = await run(f"--server=:{server.port}", "--auth", f"ann:{SECRET}")
    assert (status, output) == (5, "")
    assert errors.startswith("ehlo: AUTH was refused: 535 5.7.8 ")


async def test_a_server_that_offers_no_login(run: Run, authority: trustme.CA) -> None:
    async with serve(Recorder(), port=0, tls_context=server_context(authority)) as server:
        status, _, errors = await run(f"--server=:{server.port}", "--auth", f"ann:{SECRET}")
    assert status == 1
    assert "offers no AUTH, perhaps after --tls starttls" in errors


@pytest.mark.parametrize(("host", "is_near"), [("127.0.0.1", True), ("::1", True), ("localhost", True)])
def test_to_this_machine_a_password_may_go_in_clear_text(host: str, is_near: bool) -> None:
    assert Server(host, 25).is_near == is_near


@pytest.mark.parametrize("host", ["mail.example.com", "192.0.2.1", "localhost.example.com"])
async def test_to_others_it_may_not(host: str) -> None:
    assert not Server(host, 25).is_near
    async with serve(
        Recorder(), port=0, authenticator=AnyBody(), auth_require_tls=False, hostname="localhost"
    ) as server:
        client = cast("Conversation", await Conversation.connect("127.0.0.1", server.port))
        await client.ehlo()
        client.extensions["AUTH"] = ("PLAIN",)
        with pytest.raises(CannotLogIn, match="in clear text"):
            await log_in(client, "ann", SECRET, is_clear_allowed=False)
        await client.quit()


async def test_a_challenge_that_is_none_of_the_mechanism_cancels_the_exchange() -> None:
    async with serve(
        Recorder(), port=0, authenticator=AnyBody(), auth_require_tls=False, hostname="localhost"
    ) as server:
        client = cast("Conversation", await Conversation.connect("127.0.0.1", server.port))
        await client.ehlo()
        said: list[str] = []

        async def command(verb: str, *arguments: str) -> Reply:
            said.append(verb)
            return Reply(334, None, ("not base64",)) if verb == "AUTH" else Reply(501, "5.7.0", ("Cancelled",))

        client.command = command  # type: ignore[method-assign]
        reply = await log_in(client, "ann", SECRET, is_clear_allowed=True)
        assert (reply.code, said) == (501, ["AUTH", "*"])
        await client.quit()


@pytest.mark.parametrize(
    ("arguments", "variable", "login"),
    [
        ([], None, None),
        (["--auth=ann:a:b"], None, ("ann", "a:b")),
        (["--auth=ann:"], "other", ("ann", "")),
        (["--auth=ann"], SECRET, ("ann", SECRET)),
    ],
)
def test_a_password_need_not_be_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], variable: str | None, login: tuple[str, str] | None
) -> None:
    monkeypatch.delenv("EHLO_PASSWORD", raising=False)
    if variable is not None:
        monkeypatch.setenv("EHLO_PASSWORD", variable)
    assert send.find_login(send.build_parser().parse_args(arguments)) == login


def test_a_password_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{SECRET}\nnot this\n")
    options = send.build_parser().parse_args(["--auth=ann", f"--password-file={tmp_path / 'password'}"])
    assert send.find_login(options) == ("ann", SECRET)


def test_a_password_is_asked_for_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("EHLO_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"answer to {prompt}")
    assert send.find_login(send.build_parser().parse_args(["--auth=ann"])) == ("ann", "answer to Password of ann: ")


# TLS


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_tls(run: Run, authority: trustme.CA, tmp_path: Path, tls: str) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = server_context(authority)
    recorder = Recorder()
    parameters: Any = {"ssl_context": context} if tls == "implicit" else {"tls_context": context}
    async with serve(recorder, port=0, **parameters) as server:
        status, output, _ = await run(f"--server=:{server.port}", f"--tls={tls}", f"--ca={tmp_path / 'ca.pem'}", "-v")
    assert status == 0
    assert "-: TLSv1.3 TLS_" in output
    assert recorder.sessions[0].ssl is not None


async def test_a_certificate_that_is_not_trusted(run: Run, authority: trustme.CA) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0, tls_context=server_context(authority)) as server:
        status, _, errors = await run(f"--server=:{server.port}", "--tls=starttls")
        assert status == 1
        assert "--ca" in errors
        assert recorder.envelopes == []
        status, _, _ = await run(f"--server=:{server.port}", "--tls=starttls", "--insecure")
        assert status == 0


async def test_starttls_that_is_refused_is_the_end(run: Run) -> None:
    recorder = Recorder()
    async with serve(recorder, port=0) as server:
        status, _, errors = await run(f"--server=:{server.port}", "--tls=starttls")
    assert status == 5
    assert "STARTTLS was refused: 502 " in errors
    assert recorder.envelopes == []


# LMTP


async def test_lmtp_tells_for_whom_it_was_refused(run: Run) -> None:
    recorder = Recorder(data_full="452 4.2.2 Mailbox full")
    async with serve(recorder, port=0, protocol=LMTP) as server:
        status, output, errors = await run(
            f"--server=:{server.port}", "--lmtp", "--to=full@b.example", "--to=good@b.example"
        )
    assert status == 4
    assert output == "Accepted: 250 2.0.0 Stored\n"
    assert errors == "ehlo: the message for <full@b.example> was refused: 452 4.2.2 Mailbox full\n"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no UNIX sockets")
async def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    async with serve(Recorder(), unix_path=tmp_path / "socket", protocol=LMTP):
        assert (await run("--lmtp", f"--server={tmp_path / 'socket'}"))[0] == 0


# Options


@pytest.mark.parametrize(
    ("arguments", "server"),
    [
        ([], Server("127.0.0.1", 8025)),
        (["--server=:2525"], Server("localhost", 2525)),
        (["--server=mail.example.com"], Server("mail.example.com", 25)),
        (["--server=mail.example.com", "--tls=implicit"], Server("mail.example.com", 465)),
        (["--server=mail.example.com", "--lmtp"], Server("mail.example.com", 24)),
        (["--server=[2001:db8::1]:26"], Server("2001:db8::1", 26)),
        (["--server=/run/lmtp"], Server("localhost", 0, "/run/lmtp")),
    ],
)
def test_where_it_sends(arguments: list[str], server: Server) -> None:
    found = send.parse_server(send.build_parser().parse_args(arguments))
    assert found == server
    assert str(found) in {"127.0.0.1:8025", "localhost:2525", "[2001:db8::1]:26", "/run/lmtp"} | {
        f"mail.example.com:{port}" for port in (24, 25, 465)
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--server=*:25"], "no server: *:25"),
        (["--server=:0"], "no server: :0"),
        (["--server=::1"], "Invalid address"),
        (["--ca=x"], "--ca needs --tls"),
        (["--ca=/nonexistent", "--tls=implicit"], "cannot use /nonexistent"),
        (["--to="], "no address"),
        (["--to=bad addr"], "no address: bad addr"),
        (["--from=bad addr"], "no address: bad addr"),
        (["--from=a b@c.example"], "no address: a b@c.example"),
        (["--header=x"], "no header field"),
        (["--header=X: a\nBcc: b@b.example"], "linefeed"),
        (["--subject=a\r\nBcc: b@b.example"], "linefeed"),
        (["--attach=/nonexistent"], "cannot read /nonexistent: No such file"),
        (["--text=@/nonexistent"], "cannot read /nonexistent"),
        (["--eml=/nonexistent"], "cannot read /nonexistent"),
        (["--eml=/dev/null", "--text=x"], "as it is"),
        (["--count=0"], "invalid number value"),
        (["--timeout=nan"], "invalid number value"),
        (["--auth=ann"], "no password for ann"),
        (["--password-file=x"], "needs --auth"),
    ],
)
async def test_wrong_options_are_named_before_anything_is_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.delenv("EHLO_PASSWORD", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    status, output, errors = await run(*arguments)
    assert (status, output) == (2, "")
    assert complaint in errors


def test_the_worst_outcome_is_the_largest_number() -> None:
    assert max(Outcome.SENT, Outcome.FAILED, Outcome.LATER, Outcome.REFUSED) == 5
