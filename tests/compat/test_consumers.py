"""Programs in the manner of those that depend on aiosmtpd, with either import.

Where the original has a fault that is not repeated, the case says so, with the row of docs/migrating.md.
"""

from __future__ import annotations

import asyncio
import io
import logging
import smtplib
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.compat.roots import REAL
from tests.compat.talk import Talk, b64, free_port, loop_in_a_thread, running

Program = Callable[[str], ModuleType]

# The original's tasks and transports that nobody waits for, and what it deprecates: it is not it that is tested.
pytestmark = pytest.mark.filterwarnings("ignore")


# -- A mailing list manager ----------------------------------------------------------------------------------


def test_mailman_gets_one_line_per_recipient_through(program: Program) -> None:
    mailman = program("mailman")
    handler = mailman.LMTPHandler()
    with running(mailman.LMTPRunner(handler, "127.0.0.1", free_port())) as runner, Talk(runner.port) as client:
        assert client.greeting.startswith("220 ")
        assert client.greeting.endswith(" GNU Mailman LMTP runner 2.0")
        assert (
            client.send(
                "Subject: x", "", "Text", recipients=("list@x.example", "bob@x.example"), hello="LHLO c.example"
            )
            == "250 Ok"
        )
        assert client.hear() == "550 Requested action not taken: mailbox unavailable"
        assert client.ask_all("RSET", "QUIT") == ["250 Ok", "221 Bye"]
    assert handler.queued == [("list@x.example", "Subject: x\r\n\r\nText\r\n")]


def test_mailman_uses_the_old_hook_for_lhlo(program: Program) -> None:
    mailman = program("mailman")
    with (
        running(mailman.LMTPRunner(mailman.LMTPHandler(), "127.0.0.1", free_port())) as runner,
        Talk(runner.port) as client,
    ):
        assert client.ask("LHLO c.example").splitlines()[-1] == "250 HELP"
        assert "SIZE 33554432" in client.ask("LHLO c.example")
        assert client.ask("EHLO c.example") == '500 Error: command "EHLO" not recognized'


def test_mailman_counts_the_connection_again_with_tls(
    program: Program, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    mailman = program("mailman")
    runner = mailman.LMTPRunner(mailman.LMTPHandler(), "127.0.0.1", free_port())
    runner.parameters = {"tls_context": server_context}
    with running(runner):
        mailman.CountingLMTP.connections = 0
        with Talk(runner.port) as client:
            client.ask("LHLO c.example")
            assert mailman.CountingLMTP.connections == 1
            client.start_tls(client_context)
            assert client.ask("MAIL FROM:<a@x.example>") == "503 Error: send HELO first"
            assert mailman.CountingLMTP.connections == 2
            assert client.send("x", recipients=("list@x.example",), hello="LHLO c.example") == "250 Ok"


# -- A chat server -------------------------------------------------------------------------------------------


def test_zulip_serves_a_socket_of_its_own(program: Program) -> None:
    zulip = program("zulip")
    handler = zulip.Handler("chat.example")
    with _in_its_thread(lambda loop: zulip.Server(handler, loop, decode_data=False)) as server:
        assert server.has_dropped
        with Talk(server.port) as client:
            assert client.ask("EHLO c.example").startswith("250-")
            assert server.smtpd.seen_by_gateway
            assert client.ask_all("MAIL FROM:<a@x.example>", "RCPT TO:<a@other.example>") == [
                "250 OK",
                "550 5.1.1 Bad destination mailbox address",
            ]
            assert client.send("Subject: Hi", "", "Text", recipients=("stream@chat.example",)) == "250 OK"
    (message,) = handler.messages
    assert (message["X-RcptTo"], message["Subject"]) == ("stream@chat.example", "Hi")
    assert server.ended.is_set()


def test_zulip_hears_why_tls_failed(program: Program, server_context: ssl.SSLContext) -> None:
    zulip = program("zulip")
    handler = zulip.Handler("chat.example")
    with (
        _in_its_thread(lambda loop: zulip.Server(handler, loop, tls_context=server_context)) as server,
        Talk(server.port) as client,
    ):
        client.ask("EHLO c.example")
        client.ask("STARTTLS")
        client.say(b"this is no handshake\r\n" * 10)
        while client.hear():
            pass
    assert handler.errors == [("TLS", "SSLError")]


def _in_its_thread(make: Callable[[asyncio.AbstractEventLoop], Any]) -> Any:
    return _Unthreaded(make)


class _Unthreaded:
    """An unthreaded controller: begun before its loop runs, ended while it does."""

    def __init__(self, make: Callable[[asyncio.AbstractEventLoop], Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._controller = make(self._loop)

    def __enter__(self) -> Any:
        self._controller.begin()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self._controller

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._controller.end)
        assert self._controller.ended.wait(10)
        self._loop.call_soon_threadsafe(self._controller.cancel_tasks)
        self._thread.join(10)
        self._loop.close()
        asyncio.set_event_loop(None)


# -- A filter ------------------------------------------------------------------------------------------------


def test_filtermail_ignores_the_parameters_of_rcpt(program: Program) -> None:
    filtermail = program("filtermail")
    handler = filtermail.FilterHandler()
    controller = filtermail.FilterController(handler, "127.0.0.1", free_port(), data_size_limit=50_000_000)
    with running(controller), Talk(controller.port) as client:
        assert "250-SIZE 50000000" in client.ask("EHLO c.example")
        assert client.ask("MAIL FROM:<nobody>") == "500 Invalid from address <'nobody'>"
        assert client.ask("MAIL FROM:<a@x.example> RET=FULL SIZE=10") == "250 OK"
        assert client.ask("RCPT TO:<b@x.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;b@x.example") == "250 OK"
        assert client.ask("RCPT TO:<b@x.example> X=Y") == "555 RCPT TO parameters not recognized or not implemented"
        client.ask("DATA")
        assert client.ask("plain\r\n.") == "523 Encryption Needed: Invalid Unencrypted Mail"
        assert client.send("Encrypted") == "250 OK"
    assert handler.checked == [b"plain\r\n", b"Encrypted\r\n"]


# -- A client's tests ----------------------------------------------------------------------------------------


@pytest.fixture
def recorded(program: Program, root: str, server_context: ssl.SSLContext) -> Any:
    """A server as the tests of a client library start it: with ``create_server``, in a loop that runs."""
    client_tests = program("client_tests")
    handler = client_tests.RecordingHandler()
    with loop_in_a_thread() as (loop, run):
        server = run(
            loop.create_server(
                lambda: client_tests.RecordingSMTP(
                    handler, hostname="localhost", enable_SMTPUTF8=True, tls_context=server_context, loop=loop
                ),
                "127.0.0.1",
                0,
            )
        )
        handler.port = server.sockets[0].getsockname()[1]
        yield handler
        loop.call_soon_threadsafe(server.close)


def test_every_hook_and_reply_is_recorded(recorded: Any) -> None:
    with Talk(recorded.port) as client:
        assert client.send("Subject: x", "", "y") == "250 OK"
        assert client.ask("VRFY bob@example.com").startswith("252 ")
        # The server records when it has sent: at the next reply, the one before has been recorded.
        client.ask("WHAT")
    assert [name for name, _ in recorded.commands] == ["EHLO", "MAIL", "RCPT", "DATA", "VRFY"]
    assert recorded.commands[1] == ("MAIL", ("alice@example.com", []))
    assert recorded.responses[0].startswith("220 localhost ")
    assert "252 Cannot VRFY user, but will accept message and attempt delivery" in recorded.responses
    assert len(recorded.messages) == 1


def test_verbs_may_be_hooks(recorded: Any) -> None:
    with Talk(recorded.port) as client:
        client.ask("EHLO c.example")
        assert client.ask("EXPN list") == "502 EXPN not implemented"
        assert client.ask("HELP").startswith("250 Supported commands: AUTH DATA EHLO EXPN") is False
        assert client.ask("MAIL FROM:<broken>") == "553 5.1.3 Error: malformed address"
        assert client.ask("RCPT TO:<b@x.example> NOTIFY=NEVER") == "503 Error: need MAIL command"
    assert ("EXPN", ()) in recorded.commands
    assert ("HELP", ()) in recorded.commands


def test_starttls_of_the_library_may_be_extended(recorded: Any, client_context: ssl.SSLContext) -> None:
    with Talk(recorded.port) as client:
        assert "AUTH" not in client.ask("EHLO c.example")
        client.start_tls(client_context)
        assert client.ask("EHLO c.example").startswith("250-AUTH LOGIN\n250-localhost\n")
        assert client.send("over TLS") == "250 OK"
    assert ("STARTTLS", (None,)) in recorded.commands


@pytest.mark.parametrize(
    ("verb", "heard"),
    [
        ("XEXPN", ["250-Joseph Blow <jblow@example.com>\n250 Alice Smith <asmith@example.com>", "250 OK"]),
        ("XBAD", ["250 \\xff\\xff\\xff\\xff", "250 OK"]),
        ("XCLOSE", ["250 done", "221 bye now"]),
        ("XDROP", ["501 error", ""]),
        ("XEOF", ["", ""]),
        ("XLATER", ["250 soon", ""]),
    ],
)
def test_a_server_can_be_made_to_misbehave(recorded: Any, verb: str, heard: list[str]) -> None:
    with Talk(recorded.port) as client:
        client.ask("EHLO c.example")
        client.say(verb)
        first = client.hear()
        if verb in {"XEXPN", "XBAD"}:
            client.say("NOOP")
        assert [first, client.hear()] == heard


# -- A fixture with its own STARTTLS -------------------------------------------------------------------------


@pytest.fixture
def fixture_server(program: Program, root: str, server_context: ssl.SSLContext) -> Any:
    module = program("own_starttls")
    controller = module.FixtureController(module.FixtureHandler(), server_context)
    if root == REAL:
        controller.port = free_port()
    with running(controller):
        yield controller


def test_smtpdfix_upgrades_the_connection_by_itself(fixture_server: Any, client_context: ssl.SSLContext) -> None:
    with Talk(fixture_server.port) as client:
        assert "250-STARTTLS" in client.ask("EHLO c.example")
        assert client.ask("MAIL FROM:<a@x.example>") == "530 Must issue a STARTTLS command first"
        client.start_tls(client_context)
        assert "250-AUTH CRAM-LIKE LOGIN PLAIN" in client.ask("EHLO c.example")
        assert client.send("Subject: secret", "", "Text") == "250 OK"
    assert [message["Subject"] for message in fixture_server.handler.messages] == ["secret"]


def test_smtpdfix_authenticates_with_mechanisms_of_its_handler(
    fixture_server: Any, client_context: ssl.SSLContext
) -> None:
    host = fixture_server.smtpd.hostname
    for right, expected in (
        (True, "235 2.7.0 Authentication successful"),
        (False, "535 5.7.8 Authentication credentials invalid"),
    ):
        with Talk(fixture_server.port) as client:
            client.start_tls(client_context)
            client.ask("EHLO c.example")
            challenge = f"<1@{host}>"
            assert client.ask("AUTH CRAM-LIKE") == "334 " + b64(challenge.encode())
            proof = challenge[::-1] if right else "nonsense"
            assert client.ask(b64(b"user " + proof.encode())) == expected
        with Talk(fixture_server.port) as client:
            client.start_tls(client_context)
            client.ask("EHLO c.example")
            assert client.ask("AUTH LOGIN") == "334 "
            assert client.ask(b64(b"user")) == "334 " + b64(b"Password")
            assert client.ask(b64(b"password" if right else b"x")) == expected
        with Talk(fixture_server.port) as client:
            client.start_tls(client_context)
            client.ask("EHLO c.example")
            assert client.ask("AUTH PLAIN " + b64(b"\0user\0" + (b"password" if right else b"x"))) == expected


# -- A pytest plugin -----------------------------------------------------------------------------------------


def test_localserver_finds_its_port_and_stops_twice(program: Program) -> None:
    server = program("localserver").Server("127.0.0.1")
    assert not server.is_alive()
    server.start()
    try:
        assert server.is_alive()
        assert server.accepting
        assert server.port == server.addr[1] != 0
        with smtplib.SMTP(server.addr[0], server.port, timeout=10) as client:
            client.sendmail("alice@example.org", ["bob@example.com"], "Subject: Hello\n\nText")
    finally:
        server.stop(10)
        server.stop()
    assert not server.is_alive()
    (message,) = server.outbox
    assert message["Subject"] == "Hello"
    assert message["X-Envelope"] == "127.0.0.1 alice@example.org ['bob@example.com']"


# -- An application's tests ----------------------------------------------------------------------------------


def test_odoo_patches_the_session(program: Program, caplog: pytest.LogCaptureFixture) -> None:
    odoo = program("odoo")
    output = io.StringIO()
    host = odoo.get_localhost()
    controller = odoo.make_controller(output, free_port(host), auth_require_tls=False)
    with odoo.patched_session(), running(controller), Talk(controller.port, host) as client:
        client.ask("EHLO c.example")
        assert client.ask("MAIL FROM:<a@x.example>") == "530 5.7.0 Authentication required"
        assert client.ask("AUTH PLAIN " + b64(b"\0user\0wrong")) == "535 5.7.8 Authentication credentials invalid"
        assert client.ask("AUTH PLAIN " + b64(b"\0user\0secret")) == "235 2.7.0 Authentication successful"
        assert client.send("Subject: x", "", "Text") == "250 OK"
    assert controller.handler.logins == [("QuietSession", b"user")]
    text = output.getvalue()
    assert text.startswith("---------- MESSAGE FOLLOWS ----------\nSubject: x\nX-Peer: ('")
    assert text.endswith(")\n\nText\n------------ END MESSAGE ------------\n")
    assert "login_data is deprecated" not in caplog.text


def test_odoo_over_implicit_tls(
    program: Program, root: str, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    odoo = program("odoo")
    host = odoo.get_localhost()
    controller = odoo.make_controller(io.StringIO(), free_port(host), ssl_context=server_context)
    with running(controller), Talk(controller.port, host, context=client_context) as client:
        told = client.ask("EHLO c.example")
        answer = client.ask("AUTH PLAIN " + b64(b"\0user\0secret"))
    if root == REAL:  # docs/migrating.md, auth-implicit-tls
        assert "AUTH" not in told
        assert answer == "538 5.7.11 Encryption required for requested authentication mechanism"
    else:
        assert "250-AUTH LOGIN PLAIN" in told
        assert answer == "235 2.7.0 Authentication successful"


# -- A notification gateway ----------------------------------------------------------------------------------


def test_mailrise_takes_long_lines_and_is_a_tuple(program: Program) -> None:
    mailrise = program("mailrise")
    before = mailrise.allow_long_lines()
    try:
        port = free_port()
        with _in_its_thread(lambda loop: mailrise.make_gateway(loop, port)) as gateway, Talk(port) as client:
            assert client.greeting.startswith("220 gateway.example ")
            assert client.send("x" * 60_000, recipients=("slack@gateway.example",)) == "250 OK"
            assert client.ask_all("MAIL FROM:<a@x.example>", "RCPT TO:<x@y.example>") == [
                "250 OK",
                "550 unknown recipient",
            ]
    finally:
        mailrise.restore(before)
    assert gateway.handler.received == [(["slack@gateway.example"], b"x" * 60_000 + b"\r\n")]


# -- A mail server -------------------------------------------------------------------------------------------


def test_koukan_reads_mail_data_by_itself(program: Program) -> None:
    koukan = program("koukan")
    endpoint = koukan.Endpoint()
    controller = koukan.Gateway(endpoint, "127.0.0.1", free_port())
    # A connection of the original to itself brings no PROXY header, and waits a second for nothing.
    controller._trigger_server = controller._factory_invoker
    with running(controller):
        talk = Talk(controller.port)
        talk.say(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\n")
        with talk as client:
            assert client.greeting.endswith(" koukan")
            client.ask("EHLO c.example")
            assert client.ask_all("MAIL FROM:<>", "RCPT TO:<b@x.example>") == ["250 mail ok", "250 rcpt ok"]
            assert client.ask("DATA").startswith("354")
            body = b"..dot\r\n" + b"text\r\n" * 50 + b"x" * 5000 + b"\r\nend\r\n"
            client.say(body[:200])
            client.say(body[200:])
            assert client.ask(".") == "250 accepted"
            assert client.ask("DATA") == "503 Error: need RCPT command"
            assert client.ask("NOOP\r\nMAIL FROM:<a@x.example>") == "250 OK"
            assert client.hear() == "250 mail ok"
    assert b"".join(endpoint.chunks) == body.removeprefix(b".")
    assert len(endpoint.chunks) > 2
    assert endpoint.envelopes == [(("192.0.2.1", 1234), "<>", ["b@x.example"])]


# -- Smaller habits ------------------------------------------------------------------------------------------


def test_django_catches_what_its_backend_sends(program: Program) -> None:
    various = program("various")
    handler = various.DjangoHandler()
    with (
        running(various.Controller(handler, hostname="127.0.0.1", port=free_port())) as controller,
        smtplib.SMTP("127.0.0.1", controller.port, timeout=10) as client,
    ):
        client.sendmail("a@x.example", ["b@x.example"], b"From: a@x.example\r\n\r\nText\r\n")
        with pytest.raises(smtplib.SMTPDataError, match="553"):
            client.sendmail("a@x.example", ["b@x.example"], b"Text\r\n")
    assert handler.mailbox == [b"From: a@x.example\r\n\r\nText\r\n"]


def test_limits_of_ones_own(program: Program) -> None:
    various = program("various")
    with running(various.HardenedController(various.Sink(), hostname="127.0.0.1", port=free_port())) as controller:
        various.HardenedController.sessions = 0
        with Talk(controller.port) as client:
            client.ask("EHLO c.example")
            client.ask("MAIL FROM:<a@x.example>")
            answers = client.ask_all(*["RCPT TO:<b@x.example>"] * 3)
            assert answers == ["250 OK", "250 OK", "452 4.5.3 Too many recipients"]
            assert client.ask_all("WHAT", "WHAT", "WHAT") == ['500 Error: command "WHAT" not recognized'] * 3
            assert [client.hear(), client.hear()] == ["421 4.7.0 Too many errors", ""]
        assert various.HardenedController.sessions == 1


def test_a_partial_is_a_factory(program: Program) -> None:
    various = program("various")
    handler = various.DjangoHandler()
    with loop_in_a_thread() as (loop, run):
        server = run(various.serve_lmtp(handler, loop))
        with Talk(server.sockets[0].getsockname()[1]) as client:
            assert client.send("From: x", "", "y", hello="LHLO c.example") == "250 OK"
        loop.call_soon_threadsafe(server.close)
    assert handler.mailbox == [b"From: x\r\n\r\ny\r\n"]


def test_an_async_message(program: Program) -> None:
    various = program("various")
    collector = various.Collector()
    with (
        running(various.Controller(collector, hostname="127.0.0.1", port=free_port())) as controller,
        Talk(controller.port) as client,
    ):
        assert client.send("Subject: One", "", "y", recipients=("b@x.example", "c@x.example")) == "250 OK"
    assert collector.subjects == ["One alice@example.com b@x.example, c@x.example"]
    assert isinstance(collector.loop, asyncio.AbstractEventLoop)
    collector.loop.close()
    asyncio.set_event_loop(None)


def test_a_mailbox(program: Program, tmp_path: Path) -> None:
    various = program("various")
    mailbox = various.Mailbox(tmp_path / "maildir")
    with (
        running(various.Controller(mailbox, hostname="127.0.0.1", port=free_port())) as controller,
        Talk(controller.port) as client,
    ):
        assert client.send("Subject: One", "", "y") == "250 OK"
    (message,) = mailbox.mailbox
    assert (message["Subject"], message["X-MailFrom"], message["X-RcptTo"]) == (
        "One",
        "alice@example.com",
        "bob@example.com",
    )
    assert mailbox.mail_dir == tmp_path / "maildir"
    mailbox.reset()
    assert len(mailbox.mailbox) == 0


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets")
def test_a_unix_socket(program: Program, tmp_path: Path) -> None:
    various = program("various")
    handler = various.DjangoHandler()
    path = str(tmp_path / "s")
    with running(various.UnixSocketController(handler, path)), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        assert client.recv(1024).startswith(b"220 ")


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [("BrokenFactory", KeyError, "no server today"), ("NoFactory", RuntimeError, r"factory\(\) returned None")],
)
def test_a_factory_that_fails_is_told_by_start(
    program: Program, root: str, name: str, kind: type[Exception], text: str
) -> None:
    if root == "aiosmtpd" and sys.version_info >= (3, 12):
        pytest.skip("asyncio waits for the connection whose factory failed, and aiosmtpd for asyncio")
    controller = getattr(program("various"), name)(object(), hostname="127.0.0.1", port=free_port())
    try:
        with pytest.raises(kind, match=text):
            controller.start()
    finally:
        controller.stop()


def test_a_port_that_is_taken_is_told_by_start(program: Program) -> None:
    various = program("various")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        controller = various.Controller(object(), hostname="127.0.0.1", port=taken.getsockname()[1], ready_timeout=0.3)
        with pytest.raises(OSError, match="in use"):
            controller.start()
        controller.stop()
        # The original leaves it open.
        controller.loop.close()


def test_log_lines_that_programs_assert(
    program: Program, root: str, caplog: pytest.LogCaptureFixture, server_context: ssl.SSLContext
) -> None:
    various = program("various")
    with (
        caplog.at_level(logging.DEBUG, "mail.log"),
        running(various.Controller(object(), hostname="127.0.0.1", port=free_port(), auth_require_tls=False)) as one,
    ):
        caplog.clear()
        with Talk(one.port) as client:
            client.ask("EHLO c.example")
            client.ask("AUTH PLAIN c2VjcmV0")
            client.ask("WHAT")
            client.ask("MAIL FROM:<a@x.example>")
            client.ask("RCPT TO:<b@x.example>")
            client.ask("QUIT")
    lines = [record.getMessage() for record in caplog.records if record.name == "mail.log"]
    peer = next(line for line in lines if line.endswith(" handling connection")).removesuffix(" handling connection")
    for line in (
        "Available AUTH mechanisms: LOGIN(builtin) PLAIN(builtin)",
        f"Peer: {peer}",
        f"{peer} handling connection",
        f"{peer} >> b'EHLO c.example'",
        f"{peer} << b'250 HELP'",
        f"{peer} >> b'AUTH PLAIN ********'",
        f"{peer} unrecognised: WHAT",
        f"{peer} sender: a@x.example",
        f"{peer} recip: b@x.example",
        f"{peer} << b'221 Bye'",
        f"{peer} connection lost",
    ):
        assert line in lines
    assert not any("c2VjcmV0" in line for line in lines)
