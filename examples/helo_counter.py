"""A hook that looks and declines: counts who says HELO or EHLO, and leaves the answer to the server."""

import asyncio
from collections import Counter

from ehlo import SMTP, Envelope, Session, serve


class HeloCounter:
    def __init__(self) -> None:
        self.names: Counter[str] = Counter()

    async def handle_HELO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str) -> None:
        self.names[hostname] += 1  # returning None means: do what you would do without me

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        self.names[hostname] += 1
        return [*lines, f"XCOUNT {self.names[hostname]}"]  # what EHLO offers, and one thing more

    async def handle_DISCONNECT(self, server: SMTP, session: Session, envelope: Envelope, why: str) -> None:
        print(f"{session.host_name} ({why}): {self.names.total()} greetings by {len(self.names)} names so far")


async def main() -> None:
    async with serve(HeloCounter(), port=8025) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
