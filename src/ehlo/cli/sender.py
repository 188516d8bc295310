"""Sends messages over one connection, and says how it went.  Knows SMTP's order; does not know options.

Says it in the terminal: what was accepted on the standard output, what was not on the standard error.
"""

from __future__ import annotations

import ipaddress
import ssl
import sys
import time
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from ehlo.cli.talk import CannotLogIn, Conversation, SpokenAloud, log_in
from ehlo.net.client import UpstreamError
from ehlo.net.foreground import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ehlo.cli.compose import Post
    from ehlo.protocol.replies import Reply


class Outcome(IntEnum):
    """The exit status; of several outcomes the largest counts.  2 is argparse's, for wrong options."""

    SENT = 0
    FAILED = 1  # there was no conversation, or it broke off
    LATER = 4  # refused by 4yz
    REFUSED = 5  # refused by 5yz


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send: a host and a port, or the path of a UNIX socket if that is not None."""

    host: str
    port: int
    maybe_path: str | None = None

    @property
    def is_near(self) -> bool:
        """Whether nobody can listen on the way."""
        try:
            return self.maybe_path is not None or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return self.maybe_path or (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}")


class Sender:
    """One connection's work.

    ``maybe_context`` is for TLS: by STARTTLS if it ``starts_tls``, or else from the first octet.  ``maybe_login`` is
    user and password, sent in clear text only to who is near, or if it ``is_insecure``.  ``timeout`` in seconds, for
    each step.
    """

    def __init__(
        self,
        server: Server,
        maybe_context: ssl.SSLContext | None,
        maybe_login: tuple[str, str] | None,
        *,
        starts_tls: bool,
        is_insecure: bool,
        lmtp: bool,
        timeout: float,
        is_verbose: bool,
    ) -> None:
        self._server = server
        self._maybe_context = maybe_context
        self._maybe_login = maybe_login
        self._starts_tls = starts_tls
        self._is_insecure = is_insecure
        self._lmtp = lmtp
        self._timeout = timeout
        self._is_verbose = is_verbose
        self._complaints: set[str] = set()
        self._outcome = Outcome.SENT
        self._accepted: list[Reply] = []

    async def send(self, posts: Iterable[Post], count: int) -> Outcome:
        """Send messages, ``count`` of them, say how it went, and return that."""
        began = time.monotonic()
        try:
            async with self._connect() as client:
                if await self._prepare(client):
                    for post in posts:
                        await self._transact(client, post)
                        if client.is_closed:
                            break
        except UpstreamError as error:
            self._note(_outcome_of(error.reply), f"{self._server}: {error}{_hint(error)}")
        except CannotLogIn as error:
            self._note(Outcome.FAILED, f"{self._server}: {error}")
        if count > 1:
            print(f"Accepted: {len(self._accepted)} of {count} messages, in {time.monotonic() - began:.2f} s.")
        elif self._accepted:
            print(f"Accepted: {visible(str(self._accepted[0]))}")
        return self._outcome

    def _connect(self) -> Any:
        kind = SpokenAloud if self._is_verbose else Conversation
        path = self._server.maybe_path
        where: dict[str, Any] = {"unix_path": path} if path else {"host": self._server.host, "port": self._server.port}
        return kind.connect(
            **where,
            server_hostname=self._server.host,
            ssl=None if self._starts_tls else self._maybe_context,
            timeout=self._timeout,
            lmtp=self._lmtp,
        )

    async def _prepare(self, client: Conversation) -> bool:
        """Say EHLO, STARTTLS and AUTH, as far as wanted; whether mail can be sent now."""
        if not self._is_good("EHLO", await client.ehlo()):
            return False
        if self._starts_tls:
            assert self._maybe_context is not None
            await client.starttls(self._maybe_context)
            if not self._is_good("EHLO", await client.ehlo()):
                return False
        if self._maybe_login is None:
            return True
        is_clear_allowed = self._is_insecure or self._server.is_near
        return self._is_good("AUTH", await log_in(client, *self._maybe_login, is_clear_allowed=is_clear_allowed))

    async def _transact(self, client: Conversation, post: Post) -> None:
        """Send one message."""
        if post.needs_utf8 and "SMTPUTF8" not in client.extensions:
            self._note(Outcome.FAILED, f"{self._server} does not offer SMTPUTF8, which an address needs")
            return
        if not self._is_good(f"MAIL FROM:<{post.sender}>", await client.mail(post.sender, _parameters(client, post))):
            return
        accepted = []
        for address in post.recipients:
            reply = await client.rcpt(address)
            if client.is_closed:
                self._is_good("RCPT", reply)
                return
            if self._is_good(f"RCPT TO:<{address}>", reply):
                accepted.append(address)
        if not accepted:
            await client.rset()
            return
        answer = await client.data(post.content)
        replies = answer if isinstance(answer, list) else [answer]
        for address, reply in zip(accepted, replies, strict=self._lmtp):  # SMTP has one reply for all
            self._is_good(f"the message for <{address}>" if self._lmtp else "the message", reply)
        self._accepted += [reply for reply in replies if reply.is_positive][:1]

    def _is_good(self, what: str, reply: Reply) -> bool:
        """Whether it was accepted; if not, say so, and keep it in mind."""
        if not reply.is_positive:
            self._note(_outcome_of(reply), f"{what} was refused: {reply}")
        return reply.is_positive

    def _note(self, outcome: Outcome, complaint: str) -> None:
        self._outcome = max(self._outcome, outcome)
        if complaint not in self._complaints:  # of a thousand messages, once is enough
            self._complaints.add(complaint)
            print(f"ehlo: {visible(complaint)}", file=sys.stderr)


def _outcome_of(maybe_reply: Reply | None) -> Outcome:
    if maybe_reply is None or maybe_reply.is_positive:
        return Outcome.FAILED
    return Outcome.REFUSED if maybe_reply.is_permanent else Outcome.LATER


def _parameters(client: Conversation, post: Post) -> list[str]:
    """What is to be said of the message to a server that understands it (RFC 1870, RFC 6152, RFC 6531)."""
    parameters = []
    if "SIZE" in client.extensions:
        parameters.append(f"SIZE={len(post.content)}")
    if not post.content.isascii() and "8BITMIME" in client.extensions:
        parameters.append("BODY=8BITMIME")
    if post.needs_utf8:
        parameters.append("SMTPUTF8")
    return parameters


def _hint(error: UpstreamError) -> str:
    """What may be done about it."""
    match error.__cause__:
        case ssl.SSLCertVerificationError():
            return "; name whom to trust by --ca, or trust anybody by --insecure"
        case ConnectionRefusedError():
            return "; nobody listens there: is the server running?"
    return ""
