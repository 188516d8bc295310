"""aiosmtpd as a user would run it: limits and timeouts at their defaults, one hook, in the main thread's loop.

Arguments are KEY=VALUE, all optional: loop=uvloop, size=OCTETS, chain=FILE key=FILE. Prints its port.
The host name is given because aiosmtpd would otherwise ask the name service for it on every connection.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiosmtpd.smtp import SMTP


class Handler:
    """Accepts everything and keeps nothing."""

    async def handle_DATA(self, _server: object, _session: object, _envelope: object) -> str:
        """Accept the message."""
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
    handler = Handler()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, loop=loop, **settings), "127.0.0.1", 0)
    async with server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    arguments = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if arguments.get("loop") == "uvloop":
        import uvloop

        uvloop.run(main(arguments))
    else:
        asyncio.run(main(arguments))
