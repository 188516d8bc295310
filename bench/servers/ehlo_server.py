"""ehlo as a user would run it: limits, timeouts and checks at their defaults, one hook.

Arguments are KEY=VALUE, all optional: loop=uvloop, hook=stream, size=OCTETS, chain=FILE key=FILE. Prints its port.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import ehlo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Handler:
    """Accepts everything and keeps nothing."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        """Accept the message."""
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


async def main(options: dict[str, str]) -> None:
    """Serve until killed."""
    settings: dict[str, Any] = {"hostname": "localhost"}
    if "size" in options:
        settings["data_size_limit"] = int(options["size"])
    if "chain" in options:
        import ssl  # noqa: PLC0415

        settings["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        settings["tls_context"].load_cert_chain(options["chain"], options["key"])
    handler = StreamHandler() if options.get("hook") == "stream" else Handler()
    async with ehlo.serve(handler, "127.0.0.1", 0, **settings) as server:
        print(server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if arguments.get("loop") == "uvloop":
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
