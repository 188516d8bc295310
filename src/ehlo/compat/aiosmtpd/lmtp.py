"""LMTP as programs know it from aiosmtpd: LHLO, and one reply to the end of data, which may have several lines."""

from __future__ import annotations

from ehlo.compat.aiosmtpd.smtp import SMTP, syntax

__all__ = ["LMTP"]


class LMTP(SMTP):
    """One LMTP session (RFC 2033).

    Whoever has a reply for each recipient returns them from ``handle_DATA`` joined by CRLF.
    """

    show_smtp_greeting: bool = False

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, arg: str) -> None:
        """RFC 2033 §4.1."""
        await super().smtp_EHLO(arg)

    async def smtp_HELO(self, arg: str) -> None:
        """No verb of LMTP."""
        await self.push('500 Error: command "HELO" not recognized')

    async def smtp_EHLO(self, arg: str) -> None:
        """No verb of LMTP."""
        await self.push('500 Error: command "EHLO" not recognized')
