"""What the tests of extensions share: a look at an offer, TLS that is real, and TLS that is only said to be there.

``tests.support`` has the client in memory; here is one on a socket, with the same words.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import trustme

from ehlo import LMTP, serve
from ehlo.net.tls import load_cert_chain
from tests.support import PATIENCE, Client, Nothing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from pathlib import Path

    from ehlo import SMTPServer
    from ehlo.testing import MemoryTransport

HOST = "mx.test"
ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


# Offers


def keywords(reply: str) -> dict[str, str]:
    """What a reply to EHLO offers: keywords, and what follows each."""
    _, *lines = reply.splitlines()
    offered = {}
    for line in lines:
        keyword, _, rest = line[4:].partition(" ")
        offered[keyword] = rest
    return offered


async def offer(client: Client) -> dict[str, str]:
    """What EHLO, or LHLO, offers now."""
    verb = "LHLO" if isinstance(client.server, LMTP) else "EHLO"
    return keywords(await client.ask(f"{verb} client.example"))


class Declares(Nothing):
    """A handler that declares."""

    def __init__(self, honours: Collection[str] | Mapping[str, object]) -> None:
        self.honours = honours


def codes(replies: Collection[str]) -> list[str]:
    """The reply codes alone."""
    return [reply[:3] for reply in replies]


async def hear_many(client: Client, count: int) -> list[str]:
    """The next ``count`` replies."""
    return [await client.hear() for _ in range(count)]


# TLS that is said to be there


class SaidTLS:
    """What ``ssl_object`` is to a server, without any TLS: for what depends on its being there alone."""

    def __init__(self, version: str = "TLSv1.3") -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._version = version

    def version(self) -> str:
        return self._version

    def cipher(self) -> tuple[str, str, int]:
        return ("TLS_AES_256_GCM_SHA384", self._version, 256)

    def get_channel_binding(self, kind: str) -> bytes | None:
        return b"unique" if kind == "tls-unique" else None

    def selected_alpn_protocol(self) -> None:
        return None

    def getpeercert(self, *, binary_form: bool = False) -> None:
        return None


def on_tls(version: str = "TLSv1.3") -> dict[str, Any]:
    """``extra`` for a client in memory that came by TLS."""
    return {"ssl_object": SaidTLS(version)}


# TLS that is real


class Authority:
    """A CA, a certificate of the server's, and contexts that trust and show them."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.certificate = self.issue(HOST)

    def issue(self, name: str) -> Path:
        """A file with a certificate for a name, or a mailbox, and its key."""
        path = self.folder / f"{name}.pem"
        self.ca.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def server_context(
        self, *, name: str = HOST, version: ssl.TLSVersion | None = None, asks_for_certificate: bool = False
    ) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_cert_chain(context, self.certificate if name == HOST else self.issue(name))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if asks_for_certificate:
            context.verify_mode = ssl.CERT_OPTIONAL
            self.ca.configure_trust(context)
        return context

    def client_context(self, *, certificate: Path | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context


# A client on a socket


class Pipe:
    """A pair of streams, used as the transport of a ``Client``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def feed(self, data: bytes) -> None:
        self.writer.write(data)

    async def take_line(self) -> bytes:
        try:
            return await self.reader.readline()
        except ConnectionError:
            return b""

    def is_closing(self) -> bool:
        return self.reader.at_eof()


class NetClient(Client):
    """A client on a socket.  ``server`` is the session at the other end, which lives in the same loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.transport = cast("MemoryTransport", Pipe(reader, writer))

    async def meet(self, server: SMTPServer, before: Collection[object]) -> None:
        """Wait until the server has made a session that is not one of those ``before``."""
        async with asyncio.timeout(PATIENCE):
            # Nobody tells when a connection has been accepted.
            while not (new := [each for each in server.connections if each not in before]):  # noqa: ASYNC110
                await asyncio.sleep(0)
        self.server = cast("Any", new[0])

    async def start_tls(self, context: ssl.SSLContext, name: str | None = HOST) -> None:
        """STARTTLS, and the handshake, until the server knows of its end too (in TLS 1.3 the client's comes first)."""
        assert await self.ask("STARTTLS") == "220 2.0.0 Ready to start TLS"
        await self.shake_hands(context, name)
        async with asyncio.timeout(PATIENCE):
            while self.server.session.ssl is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)

    async def shake_hands(self, context: ssl.SSLContext, name: str | None = HOST) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.writer.start_tls(context, server_hostname=name or "")

    @property
    def tls(self) -> ssl.SSLObject:
        """The client's side of TLS."""
        tls: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return tls

    async def leave(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # what the server has closed already
            await self.writer.wait_closed()


class TLSWire:
    """TLS done by hand on a stream, so that its first octets can go out with others."""

    def __init__(self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=HOST)
        self._reader, self._writer = reader, writer

    def hello(self) -> bytes:
        """The ClientHello."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._out.read()

    async def shake_hands(self) -> None:
        await self._until(self._tls.do_handshake)

    async def ask(self, line: bytes) -> bytes:
        self._tls.write(line)
        return await self.hear()

    async def hear(self) -> bytes:
        octets: bytes = await self._until(lambda: self._tls.read(65_536))
        return octets

    async def _until(self, action: Callable[[], Any]) -> Any:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._writer.write(self._out.read())
                self._in.write(await self._reader.read(65_536))
            else:
                self._writer.write(self._out.read())
                return result


async def ended(server: SMTPServer) -> None:
    """Wait until nobody is connected."""
    async with asyncio.timeout(PATIENCE):
        while server.connections:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(handler: object | None = None, **parameters: Any) -> AsyncIterator[SMTPServer]:
    """A server on a loopback port."""
    handler = Nothing() if handler is None else handler
    server = serve(handler, "127.0.0.1", 0, **{"hostname": HOST, "stall_threshold": None, **parameters})
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=0)


@asynccontextmanager
async def connected(
    server: SMTPServer,
    *,
    tls: ssl.SSLContext | None = None,
    name: str = HOST,
    says: bytes = b"",
    shakes_hands: ssl.SSLContext | None = None,
) -> AsyncIterator[NetClient]:
    """A client of a server: with ``tls`` from the first octet, or from behind what it ``says`` (``shakes_hands``)."""
    before = server.connections
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=tls, server_hostname=None if tls is None else name
    )
    client = NetClient(reader, writer)
    try:
        await client.meet(server, before)
        writer.write(says)
        if shakes_hands is not None:
            await client.shake_hands(shakes_hands, name)
        yield client
    finally:
        await client.leave()
