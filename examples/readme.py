# ruff: noqa: ANN001, ANN201, RET503 - for a first look, without types; the other examples have them
import asyncio

import ehlo


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if not address.endswith("@example.com"):
            return "550 5.7.1 Not for me"

    async def handle_DATA(self, server, session, envelope):
        print(f"{envelope.mail_from} -> {', '.join(envelope.rcpt_tos)}: {len(envelope.content)} octets")


async def main():
    async with ehlo.serve(Handler(), port=8025) as server:
        await server.serve_forever()


asyncio.run(main())
