"""An application that starts and stops a server a hundred times: for each report that it wants, one inbox for a moment.

`receive_one` is all that it takes to wait for one message in a program that has other things to do.
"""

import asyncio

from ehlo import SMTP, Envelope, Session, serve


class OneMessage:
    def __init__(self) -> None:
        self.arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str | None:
        if self.arrived.done():
            return "452 4.3.1 One is enough"
        self.arrived.set_result(envelope.content or b"")
        return None


async def receive_one(ports: "asyncio.Queue[int]") -> bytes:
    """Start a server, say on which port, and stop it when it has received a message."""
    handler = OneMessage()
    async with serve(handler, port=0, hostname="localhost") as server:
        await ports.put(server.port)
        return await handler.arrived


async def send_one(port: int, text: str) -> None:
    """The other side, which is somebody else's program in real life."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for line in ("EHLO me.example", "MAIL FROM:<me@example.com>", "RCPT TO:<you@example.com>", "DATA", f"{text}\r\n."):
        while (await reader.readline())[3:4] == b"-":
            pass
        writer.write(f"{line}\r\n".encode())
    await reader.readline()
    writer.close()
    await writer.wait_closed()


async def main(times: int = 100) -> list[bytes]:
    """So many servers, one after the other."""
    ports: asyncio.Queue[int] = asyncio.Queue()
    received = []
    for number in range(times):
        receiving = asyncio.create_task(receive_one(ports))
        await send_one(await ports.get(), f"report {number}")
        received.append(await receiving)
    return received


if __name__ == "__main__":
    reports = asyncio.run(main())
    print(f"{len(reports)} reports, the last one: {reports[-1].decode()}")
