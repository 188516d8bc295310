"""In the manner of a mailing list manager: an LMTP runner that answers for each recipient by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP

CRLF = "\r\n"


class CountingLMTP(LMTP):
    """Counts the calls by which a connection, and then its TLS, is made known."""

    connections = 0

    def connection_made(self, transport: Any) -> None:
        type(self).connections += 1
        super().connection_made(transport)


class LMTPHandler:
    def __init__(self) -> None:
        self.queued: list[tuple[str, str]] = []

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        session.host_name = hostname
        return "250 HELP"

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        envelope.rcpt_tos.append(address)
        return "250 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return CRLF.join(self.deliver(envelope, recipient) for recipient in envelope.rcpt_tos)

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 Ok"

    def deliver(self, envelope: Any, recipient: str) -> str:
        if not recipient.startswith("list"):
            return "550 Requested action not taken: mailbox unavailable"
        self.queued.append((recipient, envelope.content.decode("ascii")))
        return "250 Ok"


class LMTPRunner(Controller):
    protocol = CountingLMTP
    parameters: ClassVar[dict[str, Any]] = {}

    def factory(self) -> Any:
        server = self.protocol(self.handler, **self.parameters)
        server.__ident__ = "GNU Mailman LMTP runner 2.0"
        return server
