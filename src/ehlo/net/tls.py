"""TLS on the server's side. Knows contexts and transports; does not know SMTP or when TLS is wanted."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ehlo.errors import TLSFailed
from ehlo.protocol.tlsinfo import TLSInfo

_SERVER_NAME = "_ehlo_server_name"

_end_points: WeakKeyDictionary[ssl.SSLContext, bytes] = WeakKeyDictionary()

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


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


def load_cert_chain(
    context: ssl.SSLContext,
    certfile: str | os.PathLike[str],
    keyfile: str | os.PathLike[str] | None = None,
    password: Any = None,
) -> None:
    """Load a certificate as ``context.load_cert_chain`` does, and remember it for tls-server-end-point.

    ``ssl`` never tells a server which certificate it showed, so the binding is known of certificates loaded here only.
    """
    context.load_cert_chain(certfile, keyfile, password)
    _end_points[context] = end_point(ssl.PEM_cert_to_DER_cert(_first_certificate(Path(certfile).read_text())))


def set_tickets(context: ssl.SSLContext, *, are_given: bool) -> None:
    """Give clients session tickets, or none.

    Outlook.com's senders failed against servers whose tickets they could not use, those written in Go above all
    (chasquid #64, golang/go #70232).  If the log shows handshakes of theirs that fail, give none.
    """
    if are_given:
        context.options &= ~ssl.OP_NO_TICKET
        context.num_tickets = 2  # OpenSSL's own number, for TLS 1.3
    else:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0


async def shake_hands(
    loop: asyncio.AbstractEventLoop,
    plain: asyncio.Transport,
    protocol: asyncio.BaseProtocol,
    context: ssl.SSLContext,
    timeout: float,
) -> asyncio.Transport:
    """Do a handshake on a transport; give one above it, whose decrypted octets ``protocol`` gets.

    ``TLSFailed`` when there is no TLS after ``timeout`` seconds.  Whatever it is that fails, ``plain`` is aborted.
    """
    maybe_transport = None
    try:
        maybe_transport = await loop.start_tls(
            plain, protocol, context, server_side=True, ssl_handshake_timeout=timeout
        )
    except (OSError, EOFError) as error:  # ssl.SSLError, ConnectionError and TimeoutError are OSError
        raise TLSFailed(str(error)) from error
    finally:
        if maybe_transport is None:
            plain.abort()
    if maybe_transport is None:
        raise TLSFailed("connection lost")
    return maybe_transport


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
    if (known := _end_points.get(connection.context)) is not None:
        bindings["tls-server-end-point"] = known
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


def end_point(certificate: bytes) -> bytes:
    """The hash of a certificate in DER that is the binding tls-server-end-point (RFC 5929 §4.1).

    Its hash function is that of the certificate's signature, but SHA-256 for MD5, SHA-1 and those that name none.
    """
    oid = _signature_algorithm(certificate)
    return hashlib.new(_HASHES.get(oid, "sha256"), certificate).digest()


# DER of the OIDs of signature algorithms that use another hash than SHA-256 (RFC 8017 A.2.4, RFC 5758 §3.2).
_HASHES = {
    bytes.fromhex("2a864886f70d01010c"): "sha384",  # sha384WithRSAEncryption
    bytes.fromhex("2a864886f70d01010d"): "sha512",  # sha512WithRSAEncryption
    bytes.fromhex("2a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
    bytes.fromhex("2a8648ce3d040304"): "sha512",  # ecdsa-with-SHA512
}


def _signature_algorithm(certificate: bytes) -> bytes:
    """The OID of Certificate.signatureAlgorithm (RFC 5280 §4.1.1.2): behind the first element of the outer one."""
    outer, _ = _element(certificate)
    _, behind_body = _element(outer)
    algorithm, _ = _element(behind_body)
    oid, _ = _element(algorithm)
    return oid


def _element(der: bytes) -> tuple[bytes, bytes]:
    """The contents of the first element of DER, and what is behind it."""
    length, start = der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return der[start : start + length], der[start + length :]


def _first_certificate(pem: str) -> str:
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("no certificate in PEM")
    return match[0]
