"""Plays every script of tests/dialogues, whole and octet by octet.

Options of a script: ``@protocol lmtp``; ``@handler`` and ``@authenticator``, the name of one of those below; ``@tls``
offers STARTTLS (nobody here takes it); ``@contents`` and ``@recipients``, what the handler must have got in the end:
a list of contents, and one of numbers of recipients; ``@delivery whole`` for what depends on what arrives together.
Every other option is a setting.
"""

from __future__ import annotations

import ast
import asyncio
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ehlo import LMTP, SMTP, LoginPassword, Settings
from ehlo.testing import FakeClockLoop, MemoryTransport, Script
from tests.support import Recorder

if TYPE_CHECKING:
    from ehlo import Envelope, Session

SCRIPTS = {path.stem: Script.parse(path.read_text()) for path in (Path(__file__).parent / "dialogues").glob("*.txt")}


class Failing(Recorder):
    """Fails at whatever is called "fail"."""

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> None:
        session.host_name = hostname
        _fail_at(hostname)

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> None:
        session.host_name = hostname
        _fail_at(hostname)

    async def handle_NOOP(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
        _fail_at(arg)

    async def handle_VRFY(self, server: SMTP, session: Session, envelope: Envelope, arg: str) -> None:
        _fail_at(arg)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        envelope.mail_from = address
        _fail_at(address)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        envelope.rcpt_tos.append(address)
        _fail_at(address)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        assert envelope.content is not None
        _fail_at(envelope.content.decode())
        await super().handle_DATA(server, session, envelope)


class Slow(Recorder):
    """Waits an hour at whatever is called "slow"."""

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        await _wait_at(address)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> None:
        envelope.rcpt_tos.append(address)
        await _wait_at(address)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> None:
        assert envelope.content is not None
        await _wait_at(envelope.content.decode())
        await super().handle_DATA(server, session, envelope)


class ClosedShop(Recorder):
    """Serves nobody."""

    async def handle_CONNECT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return "554 5.7.1 No SMTP service here"


def _fail_at(text: str | None) -> None:
    if text is not None and text.startswith("fail"):
        raise RuntimeError("details that are nobody else's business")


async def _wait_at(text: str) -> None:
    if text.startswith("slow"):
        await asyncio.sleep(3600)


async def one_user(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: LoginPassword
) -> bool:
    return credentials == LoginPassword(b"ann", b"secret")


HANDLERS: dict[str, type[Recorder]] = {
    "": Recorder,
    "failing": Failing,
    "slow": Slow,
    "closed_shop": ClosedShop,
}
AUTHENTICATORS = {"one_user": one_user}


class InCallbacks:
    """Delivers what a transport delivers in callbacks of the loop, one for each octet, in order.

    A transport in memory feeds from the task that plays the script, and then the server runs in its own task; from a
    callback it runs at once, before the next octet is there, as it does on a socket.
    """

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for octet in data:
            loop.call_soon(super().data_received, bytes([octet]))  # type: ignore[misc]

    def eof_received(self) -> bool:
        asyncio.get_running_loop().call_soon(super().eof_received)  # type: ignore[misc]
        return True


class SMTPInCallbacks(InCallbacks, SMTP):
    pass


class LMTPInCallbacks(InCallbacks, LMTP):
    pass


SERVERS: dict[str, dict[str, type[SMTP]]] = {
    "whole": {"smtp": SMTP, "lmtp": LMTP},
    "octets": {"smtp": SMTPInCallbacks, "lmtp": LMTPInCallbacks},
}


CASES = [
    pytest.param(script, delivery, id=f"{name}-{delivery}")
    for name, script in sorted(SCRIPTS.items())
    for delivery in SERVERS
    if script.options.get("delivery", delivery) == delivery
]


@pytest.mark.parametrize(("script", "delivery"), CASES)
def test_the_server_says_what_the_script_says(script: Script, delivery: str) -> None:
    options = {name: value for name, value in script.options.items() if name != "delivery"}
    server_class = SERVERS[delivery][options.pop("protocol", "smtp")]
    handler = HANDLERS[options.pop("handler", "")]()
    maybe_contents = options.pop("contents", None)
    maybe_counts = options.pop("recipients", None)
    parameters: dict[str, Any] = {"hostname": "mx.test"}
    if options.pop("tls", None):
        parameters["tls_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if "authenticator" in options:
        parameters["authenticator"] = AUTHENTICATORS[options.pop("authenticator")]
    parameters |= {name: ast.literal_eval(value) for name, value in options.items()}
    if parameters.get("auth_required") and not parameters.get("auth_require_tls", True):
        with pytest.warns(UserWarning, match="in clear"):
            settings = Settings(**parameters)
    else:
        settings = Settings(**parameters)

    async def play() -> MemoryTransport:
        server = server_class(handler, settings=settings)
        transport = await script.play(server)
        server.task.result()
        return transport

    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:
        runner.run(play())
    if maybe_contents is not None:
        expected = [text.encode() for text in _evaluate(maybe_contents)]
        assert handler.contents == expected
    if maybe_counts is not None:
        assert [len(envelope.rcpt_tos) for envelope in handler.envelopes] == _evaluate(maybe_counts)
    assert len(handler.reasons) == 1


def _evaluate(text: str) -> list[Any]:
    value = ast.literal_eval(text)
    assert isinstance(value, list)
    return value
