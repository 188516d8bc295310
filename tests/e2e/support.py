"""What the tests with real clients share: a server that remembers its mail, and a way to run a program.

Knows ehlo's public names and processes; does not know any client.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import email
import email.policy
import logging
import os
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import trustme

from ehlo import SMTP, Disconnect, serve
from ehlo.protocol.credentials import derive_scram_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from ehlo import Envelope, Session, SMTPServer
    from ehlo.protocol import sasl
    from ehlo.protocol.credentials import ScramKeys

SENDER = "alice@example.org"
RECIPIENT = "bob@example.com"
LOGIN = "bob"
PASSWORD = "s3cret, long & spaced"
TOKEN = "ya29.a-token-of-nobody"

# Lines that transparency is about (RFC 5321 §4.5.2), an empty one and a long one.
MESSAGE = (
    b"From: Alice <alice@example.org>\r\n"
    b"To: Bob <bob@example.com>\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n"
    b"Message-ID: <dots@example.org>\r\n"
    b"Subject: Dots\r\n"
    b"\r\n"
    b".\r\n"
    b"..\r\n"
    b".two words\r\n"
    b"\r\n"
    b"a.b.\r\n" + b"long " * 100 + b"\r\n"
    b"the end\r\n"
)
EIGHT_BIT_MESSAGE = (
    b"From: alice@example.org\r\n"
    b"To: bob@example.com\r\n"
    b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n"
    b"Message-ID: <octets@example.org>\r\n"
    b"Subject: Octets\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n"
    b"\r\n" + bytes(range(0x80, 0x100)) + b"\r\n"
)


class Mail(NamedTuple):
    """One message, with the session as it was when the message came."""

    session: Session
    envelope: Envelope

    @property
    def mail_from(self) -> str | None:
        return self.envelope.mail_from

    @property
    def rcpt_tos(self) -> list[str]:
        return self.envelope.rcpt_tos

    @property
    def options(self) -> list[str]:
        return self.envelope.mail_options

    @property
    def content(self) -> bytes:
        assert self.envelope.content is not None
        return self.envelope.content

    @property
    def parsed(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    @property
    def host_name(self) -> str | None:
        return self.session.host_name

    @property
    def tls(self) -> str | None:
        """The version of TLS, None without."""
        return self.session.ssl.version if self.session.ssl else None

    @property
    def mechanism(self) -> str | None:
        """By which ``LOGIN`` authenticated, None if nobody did."""
        if not self.session.authenticated:
            return None
        identity = self.session.auth_data
        assert identity.authzid == self.session.login == LOGIN
        mechanism: str = identity.mechanism
        return mechanism


class Recorder:
    """A handler that takes every message, except for the recipients that it is told to refuse.

    ``verdict``: what ``handle_DATA`` answers, None for the default.
    """

    def __init__(self, refused: Collection[str], verdict: Any, honours: Collection[str]) -> None:
        self.honours = honours
        self.mails: list[Mail] = []
        self.endings: list[Disconnect] = []
        self._refused = refused
        self._verdict = verdict

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str | None:
        return "550 5.1.1 No such mailbox" if address in self._refused else None

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> Any:
        self.mails.append(Mail(copy.copy(session), envelope))
        return self._verdict

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: Disconnect) -> None:
        self.endings.append(why)


class Authenticator:
    """Knows one user, by whatever mechanism: by a password, a token, or a certificate for the address LOGIN@..."""

    # Of few iterations: deriving keys is not what is tested.
    _keys = derive_scram_keys(PASSWORD, iterations=4096)

    async def check_password(self, question: sasl.CheckPassword, session: Session) -> bool:
        return (question.user, question.password) == (LOGIN, PASSWORD)

    async def check_digest(self, question: sasl.CheckDigest, session: Session) -> bool:
        return question.proves(PASSWORD if question.user == LOGIN else None)

    async def find_keys(self, question: sasl.FindKeys, session: Session) -> ScramKeys | None:
        return self._keys if question.user == LOGIN else None

    async def check_token(self, question: sasl.CheckToken, session: Session) -> bool:
        return (question.user, question.token) == (LOGIN, TOKEN)

    async def identify_peer(self, question: sasl.IdentifyPeer, session: Session) -> str | None:
        assert session.ssl is not None
        certificate = session.ssl.peer_certificate or {}
        addresses = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "email"]
        return addresses[0].partition("@")[0] if addresses else None


class Receiver(NamedTuple):
    """A running server as its clients see it."""

    server: SMTPServer
    recorder: Recorder

    @property
    def host(self) -> str:
        return "localhost"

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def mails(self) -> list[Mail]:
        return self.recorder.mails

    @property
    def mail(self) -> Mail:
        """The only one."""
        [mail] = self.recorder.mails
        return mail


@contextlib.asynccontextmanager
async def receiving(
    *,
    refused: Collection[str] = (),
    verdict: Any = None,
    honours: Collection[str] = (),
    protocol: type[SMTP] = SMTP,
    unix_path: Path | None = None,
    expected_endings: Collection[Disconnect] = (Disconnect.QUIT,),
    expected_refusals: Collection[str] = (),
    **parameters: Any,
) -> AsyncIterator[Receiver]:
    """Serve on both loopback addresses, or a UNIX socket.

    In the end every session must have ended as expected, and the server's log must be free of warnings and of
    commands refused for breaking the protocol: the server had nothing to complain of, either.
    """
    recorder = Recorder(refused, verdict, honours)
    settings = {"hostname": "mx.example.com", "port": 0, "protocol": protocol, "unix_path": unix_path, **parameters}
    with _complaints() as complaints:
        async with serve(recorder, **settings) as server:
            yield Receiver(server, recorder)
    assert [text for text in complaints if not any(reply in text for reply in expected_refusals)] == []
    assert recorder.endings
    assert set(recorder.endings) <= set(expected_endings)


@contextlib.contextmanager
def _complaints() -> Iterator[list[str]]:
    """What the server logs of refusals, and above INFO."""
    complaints: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = self.format(record)
            if record.levelno > logging.INFO or " refused: " in text:
                complaints.append(text)

    logger, collector = logging.getLogger("ehlo"), Collector()
    level = logger.level
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    try:
        yield complaints
    finally:
        logger.setLevel(level)
        logger.removeHandler(collector)


class Certificates:
    """An authority of our own, and certificates that it signed: for the server, and for the client LOGIN@example.org.

    ``authority_file`` is for clients to trust, ``client_file`` has the client's key and certificate.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self._server_certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
        self.authority_file = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority_file)
        client_certificate = authority.issue_cert(f"{LOGIN}@example.org")
        self.client_file = folder / "client.pem"
        client_certificate.private_key_and_cert_chain_pem.write_to_path(self.client_file)

    def server_context(self, *, asks_client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._server_certificate.configure_cert(context)
        if asks_client:
            context.load_verify_locations(self.authority_file)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.authority_file)


class Told(NamedTuple):
    """How a program ended and what it said."""

    status: int
    output: str
    errors: str

    @property
    def is_content(self) -> bool:
        """Whether it succeeded without a word on standard error."""
        return self.status == 0 and not self.errors


async def run(*command: str | Path, sent: bytes = b"", seconds: float = 30.0) -> Told:
    """Run a program to its end, without the settings of whoever runs the tests.  What it says is shown on a failure."""
    finished = await asyncio.to_thread(
        subprocess.run,
        command,
        input=sent,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
    )
    output, errors = (said.decode(errors="backslashreplace") for said in (finished.stdout, finished.stderr))
    told = Told(finished.returncode, output, errors)
    print(f"$ {' '.join(map(str, command))}\n{output}\n{errors}")
    return told


def unix_lines(message: bytes) -> bytes:
    """The same message as it is in a file on a UNIX system."""
    return message.replace(b"\r\n", b"\n")
