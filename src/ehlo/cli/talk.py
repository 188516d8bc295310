"""A client's conversation, to be looked at, and its login.  Knows SASL from the other side; does not know messages."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Final

from ehlo.net.client import Client, UpstreamError
from ehlo.net.foreground import visible

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

    from ehlo.protocol.replies import Reply

    _Answers = Generator[bytes | None, bytes, None]

HIDDEN: Final = "********"


class Conversation(Client):
    """A client that may be listened to.

    ``is_secret``: what is said now is shown as that it is said, and no more.
    """

    is_secret = False

    def show(self, who: str, text: str) -> None:
        """Take a line of the dialogue; ``who`` is C, S, or - for what is no line."""

    async def _ask(self, line: bytes, seconds: float, stage: str) -> Reply:
        text = line.decode(errors="backslashreplace").rstrip("\r\n")
        if self.is_secret:
            words = text.split(" ")
            text = " ".join([*words[:2], HIDDEN][: len(words)]) if words[0] == "AUTH" else HIDDEN
        self.show("C", text)
        return await super()._ask(line, seconds, stage)

    async def _reply(self, seconds: float, stage: str) -> Reply:
        reply = await super()._reply(seconds, stage)
        for number, line in enumerate(reply.lines, 1):
            mark = " " if number == len(reply.lines) else "-"
            self.show("S", f"{reply.code}{mark}{' '.join(filter(None, (reply.enhanced, line)))}")
        return reply

    async def _handshake(self, context: ssl.SSLContext) -> None:
        await super()._handshake(context)
        tls = self.get_extra_info("ssl_object")
        self.show("-", f"{tls.version()} {tls.cipher()[0]}")


class SpokenAloud(Conversation):
    """The same, on the terminal."""

    def show(self, who: str, text: str) -> None:
        """Print a line."""
        print(f"{who}: {visible(text)}", flush=True)


class CannotLogIn(Exception):
    """No AUTH can be said to this server; the text says why."""


async def log_in(client: Conversation, user: str, password: str, *, is_clear_allowed: bool) -> Reply:
    """Say AUTH, by the best mechanism that both sides know; the server's last word.

    ``is_clear_allowed``: a password may be sent where somebody on the way can read it.
    """
    is_private = is_clear_allowed or client.get_extra_info("ssl_object") is not None
    offered = {mechanism.upper() for mechanism in client.extensions.get("AUTH", ())}
    known = [name for name, mechanism in _MECHANISMS.items() if name in offered and (is_private or mechanism is _cram)]
    if not known:
        raise CannotLogIn(_why_not(client, offered))
    client.is_secret = True
    try:
        return await _exchange(client, known[0], _MECHANISMS[known[0]](user.encode(), password.encode()))
    finally:
        client.is_secret = False


def _why_not(client: Conversation, offered: set[str]) -> str:
    if offered & _MECHANISMS.keys():
        return "the password would be sent in clear text: use --tls starttls or implicit, or allow it by --insecure"
    if offered:
        return f"the server offers other mechanisms only: {', '.join(sorted(offered))}"
    return "the server offers no AUTH" + (", perhaps after --tls starttls" if "STARTTLS" in client.extensions else "")


async def _exchange(client: Conversation, name: str, answers: _Answers) -> Reply:
    """Answer each challenge of a mechanism.  An initial response goes with the command (RFC 4954 §4)."""
    maybe_initial = next(answers)
    reply = await client.command("AUTH", name, *([] if maybe_initial is None else [_encode(maybe_initial)]))
    while reply.code == 334:
        try:
            maybe_answer = answers.send(base64.b64decode(reply.lines[0], validate=True))
        except (ValueError, StopIteration):  # no challenge of this mechanism: RFC 4954 §4 cancels by "*"
            maybe_answer = None
        reply = await client.command("*" if maybe_answer is None else _encode(maybe_answer))
    if reply.is_intermediate:
        raise UpstreamError(f"AUTH was answered by {reply}")
    return reply


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


# A mechanism yields its initial response or None, and then the answer to each challenge that it is sent.


def _plain(user: bytes, password: bytes) -> _Answers:
    """RFC 4616 §2."""
    yield b"\0" + user + b"\0" + password


def _login(user: bytes, password: bytes) -> _Answers:
    """draft-murchison-sasl-login: two challenges, whose texts differ from server to server."""
    yield None
    yield user
    yield password


def _cram(user: bytes, password: bytes) -> _Answers:
    """RFC 2195 §2."""
    challenge = yield None
    yield user + b" " + hmac.new(password, challenge, "md5").hexdigest().encode()


_MECHANISMS: dict[str, Callable[[bytes, bytes], _Answers]] = {"PLAIN": _plain, "LOGIN": _login, "CRAM-MD5": _cram}
