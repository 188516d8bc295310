"""TLS on the server's side. Knows contexts and transports; does not know SMTP or when TLS is wanted."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from ehlo.protocol.tlsinfo import TLSInfo

_SERVER_NAME = "_ehlo_server_name"


def note_server_names(context: ssl.SSLContext) -> None:
    """Let ``tls_info`` tell the name that a client asked for (SNI), which ``ssl`` shows to a callback only.

    A callback that is set already goes on to work: it is called with the same arguments, and its answer counts.
    """
    inner = context.sni_callback
    if getattr(inner, _SERVER_NAME, False):
        return

    def note(connection: Any, name: str | None, initial: ssl.SSLContext) -> int | None:
        setattr(connection, _SERVER_NAME, name)
        # typeshed calls the name a str; a client that sends none makes it None.
        return None if inner is None else inner(connection, name, initial)  # type: ignore[arg-type]

    setattr(note, _SERVER_NAME, True)
    context.sni_callback = note


def tls_info(transport: asyncio.BaseTransport) -> TLSInfo | None:
    """The facts of a transport's TLS; None when it is plain."""
    connection = transport.get_extra_info("ssl_object")
    if connection is None:
        return None
    cipher = connection.cipher() or ("", "", 0)
    bindings = {}
    if connection.version() != "TLSv1.3":
        # tls-unique is not defined for TLS 1.3 (RFC 9266 §1); tls-exporter is not in Python's ssl.
        unique = connection.get_channel_binding("tls-unique")
        if unique:
            bindings["tls-unique"] = unique
    return TLSInfo(
        version=connection.version() or "",
        cipher=cipher[0],
        bits=cipher[2] or 0,
        server_name=getattr(connection, _SERVER_NAME, None),
        alpn=connection.selected_alpn_protocol(),
        peer_certificate=connection.getpeercert() or None,
        peer_certificate_der=connection.getpeercert(binary_form=True),
        channel_bindings=bindings,
    )
