"""ehlo as a user would run it: limits, timeouts and checks at their defaults, one hook.

Arguments are KEY=VALUE, all optional: loop=uvloop, hook=stream|compute, size=OCTETS, workers=NUMBER,
chain=FILE key=FILE. Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import ehlo

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Sequence


class Handler:
    """Accepts everything and keeps nothing."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        """Accept the message."""
        return "250 OK"


class ComputingHandler:
    """Computes in the loop for a millisecond, as nobody should who has a single process."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        """Accept the message, later."""
        until = time.thread_time() + 0.001
        while time.thread_time() < until:
            pass
        return "250 OK"


class StreamHandler:
    """Accepts everything, piece by piece."""

    async def handle_DATA_STREAM(
        self, _server: object, _session: object, _envelope: object, chunks: AsyncIterator[bytes]
    ) -> str:
        """Read the message and accept it."""
        async for _chunk in chunks:
            pass
        return "250 OK"


HANDLERS: dict[str, type] = {"": Handler, "stream": StreamHandler, "compute": ComputingHandler}


def make_server(options: dict[str, str], **where: Any) -> ehlo.SMTPServer:
    """Make what the options say."""
    settings: dict[str, Any] = {"hostname": "localhost"}
    if "size" in options:
        settings["data_size_limit"] = int(options["size"])
    if "chain" in options:
        import ssl  # noqa: PLC0415

        settings["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        settings["tls_context"].load_cert_chain(options["chain"], options["key"])
    handler = HANDLERS[options.get("hook", "")]()
    return ehlo.serve(handler, **where, **settings)


def make_worker(sockets: Sequence[socket.socket], *arguments: str) -> ehlo.SMTPServer:
    """Make the same for one of several processes."""
    return make_server(parse(arguments), sockets=sockets)


def parse(arguments: Sequence[str]) -> dict[str, str]:
    """Return options by their names."""
    return dict(argument.split("=", 1) for argument in arguments)


async def main(options: dict[str, str]) -> None:
    """Serve until told to end."""
    server: Any
    if "workers" in options:
        server = ehlo.serve_workers(
            "ehlo_server:make_worker",
            "127.0.0.1",
            0,
            workers=int(options["workers"]),
            arguments=sys.argv[1:],
            loop=options.get("loop", "asyncio"),
        )
    else:
        server = make_server(options, host="127.0.0.1", port=0)
    async with server:
        print(server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    arguments = parse(sys.argv[1:])
    if arguments.get("loop") == "uvloop":
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
