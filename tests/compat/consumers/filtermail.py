"""In the manner of a filter behind another mail server: parameters of RCPT are that server's affair."""

from __future__ import annotations

import asyncio
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


class LenientSMTP(SMTP):
    def _getparams(self, params: Any) -> dict[str, Any] | None:
        parameters = super()._getparams(params)
        if parameters is not None:
            for name in ("NOTIFY", "ORCPT", "ENVID", "RET"):
                parameters.pop(name, None)
        return parameters


class FilterController(Controller):
    def factory(self) -> SMTP:
        return LenientSMTP(self.handler, **self.SMTP_kwargs)


class FilterHandler:
    def __init__(self) -> None:
        self.checked: list[bytes] = []

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if "@" not in address:
            return f"500 Invalid from address <{address!r}>"
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, self.check, envelope)

    def check(self, envelope: Any) -> str:
        self.checked.append(envelope.content)
        if b"Encrypted" not in envelope.content:
            return "523 Encryption Needed: Invalid Unencrypted Mail"
        return "250 OK"
