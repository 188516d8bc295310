"""A verb of your own: subclass SMTP, and NOW tells the time.

    $ python examples/now.py &
    $ nc localhost 8025
    220 localhost ESMTP ehlo
    NOW
    250 2.0.0 2025-06-01T12:00:00+00:00

HELP knows it too, by what ``syntax`` says.
"""

import asyncio
from datetime import UTC, datetime

from ehlo import SMTP, serve, syntax
from ehlo.errors import ArgumentError


class TellsTime(SMTP):
    @syntax("NOW [UTC]")
    async def smtp_NOW(self, arg: str | None) -> None:
        if arg is not None and arg.upper() != "UTC":
            raise ArgumentError("NOW with another zone", text="Syntax: NOW [UTC]")
        now = datetime.now(UTC)
        # A handler may have a hook for it, as for every verb: handle_NOW(server, session, envelope, now).
        answer = await self._call_handler_hook("NOW", now)
        await self.push(answer or f"250 2.0.0 {now.isoformat(timespec='seconds')}")


class Nothing:
    """A handler without hooks accepts all mail, and drops it."""


async def main() -> None:
    async with serve(Nothing(), port=8025, protocol=TellsTime) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
