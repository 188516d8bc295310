"""Clients behind somebody else: the PROXY header, XCLIENT and XFORWARD. Knows who is trusted to say who the client is.

Each of the three has its own list of networks, and all are empty by default.  The host that connected is looked up in
them, not the client that it speaks for: behind a trusted proxy that client is who XCLIENT must be allowed to.
"""

from __future__ import annotations

import logging
from types import ModuleType

from ehlo.dispatch import Dispatcher, syntax
from ehlo.errors import ArgumentError, GateClosed, ProtocolError
from ehlo.hooks import encode_answer
from ehlo.net.tls import tls_info

log = logging.getLogger("ehlo.smtp")


class NotTrusted(ProtocolError):
    """XCLIENT or XFORWARD from a host that may not say such things (Postfix's XCLIENT_README)."""

    code = 550
    enhanced = "5.7.0"
    text = "Insufficient authorization"


class Proxied(Dispatcher):
    """What a trusted host may say about the client behind it."""

    __slots__ = ()

    def _expects_proxy_header(self) -> bool:
        return (
            self.settings.proxy_protocol_timeout is not None
            and self.transport.get_extra_info("peername") in self.shared.proxy_networks
        )

    async def _enter(self) -> None:
        settings, session = self.settings, self.session
        header = await self._pass_gate(settings.proxy_protocol_timeout or 0) if self._gate is not None else None
        if header is not None:
            from ehlo.protocol.proxy import ProxyCommand  # noqa: PLC0415 - see below

            session.proxy_data = header
            # LOCAL is the proxy itself, on its own account, as when it looks whether we live.
            if header.command is ProxyCommand.PROXY and header.source is not None:
                session.peer = header.source
        # Before TLS: the handshake is the dearest part of a connection.
        self._admit_client()
        if self.tls_from_start is not None:
            await self._pass_tls()
        session.ssl = tls_info(self.transport)
        self._stats.tls_handshakes += session.ssl is not None
        if header is not None:
            answer = await self._call_handler_hook("PROXY", header)
            if answer is not None and encode_answer(answer).code >= 400:
                raise GateClosed(f"handle_PROXY: {answer}")
        if session.peer in self.shared.xclient_networks:
            self._xclient = _xclient_parser().XCLIENT_ATTRIBUTES
        if session.peer in self.shared.xforward_networks:
            self._xforward = _xclient_parser().XFORWARD_ATTRIBUTES

    @syntax("XCLIENT attribute=value...", when="_xclient")
    async def smtp_XCLIENT(self, arg: str | None) -> None:
        """Postfix's XCLIENT_README: from here on the client is another one, and the session begins anew."""
        if not self._xclient:
            raise NotTrusted
        if arg is None:
            raise ArgumentError("XCLIENT of nothing", text="Syntax: XCLIENT attribute=value...")
        session = self.session
        xclient = _xclient_parser()
        said = xclient.parse_xclient(arg, earlier=session.xclient or xclient.XclientAttributes())
        log.info("session %s: XCLIENT from %s: %s", session.id, session.peer, said)
        session.forget()
        session.xclient = said
        if "addr" in said.given:
            # Where the client's address is unavailable, that of the host which says so is not the client's either.
            session.peer = None if said.addr is None else (said.addr, said.port or 0)
            self._admit_client()
        if said.login is not None:
            session.authenticated, session.login = True, said.login
        self._set_rset_state()
        self._forget_offer()
        await self._greet()

    @syntax("XFORWARD attribute=value...", when="_xforward")
    async def smtp_XFORWARD(self, arg: str | None) -> None:
        """Postfix's XFORWARD_README: for the log, about the transaction that comes next."""
        if not self._xforward:
            raise NotTrusted
        if arg is None:
            raise ArgumentError("XFORWARD of nothing", text="Syntax: XFORWARD attribute=value...")
        xclient = _xclient_parser()
        earlier = self.session.xforward or xclient.XforwardAttributes()
        self.session.xforward = xclient.parse_xforward(arg, earlier=earlier)
        await self.push("250 2.0.0 OK")


def _xclient_parser() -> ModuleType:
    """The parser, which most servers never need: they start the sooner without it."""
    from ehlo.protocol import xclient  # noqa: PLC0415 - see above

    return xclient
