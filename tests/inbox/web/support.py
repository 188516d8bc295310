"""A server of the inbox for tests, and a client that calls its web application in memory."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, NamedTuple

from ehlo.inbox.records import Arrival
from ehlo.inbox.server import InboxServer
from ehlo.inbox.store import Store
from ehlo.inbox.web.app import build_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

PATIENCE = 10.0

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000050001"
    "0d0a2db40000000049454e44ae426082"
)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"]["code"])


class Web:
    """Calls an ASGI application, as a client at http://localhost:8026 without headers of its own."""

    def __init__(self, server: InboxServer) -> None:
        self.server = server
        self._app = build_app(server)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        host: str | None = "localhost:8026",
        token: str | None = None,
    ) -> Answer:
        """One request; a ``body`` that is no octets goes as JSON."""
        given = {"host": host} if host is not None else {}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given["content-type"] = "application/json"
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        request = Request(method, target, given | dict(headers or {}), body or b"")
        async with asyncio.timeout(PATIENCE):
            await self._app(request.scope, request.receive, request.send)
        return request.answer()

    async def get(self, target: str, **more: Any) -> Answer:
        return await self.ask("GET", target, **more)

    async def post(self, target: str, body: Any = None, **more: Any) -> Answer:
        return await self.ask("POST", target, body, **more)

    def begin(self, target: str, **headers: str) -> Running:
        """A GET that goes on."""
        request = Request("GET", target, {"host": "localhost:8026"} | headers, b"")
        return Running(request, asyncio.ensure_future(self._app(request.scope, request.receive, request.send)))


class Request:
    """The two ends of an ASGI call."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        path, _, query = target.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8026),
        }
        self._incoming = [{"type": "http.request", "body": body, "more_body": False}]
        self.gone = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.sent: list[Any] = []
        self.arrived = asyncio.Event()

    async def receive(self) -> Any:
        if self._incoming:
            return self._incoming.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)
        self.arrived.set()

    def answer(self) -> Answer:
        start = self.sent[0]
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in self.sent[1:]))


class Event(NamedTuple):
    """One of a stream."""

    name: str
    data: Any
    id: str


class Running:
    """A request that is not answered yet, or goes on being answered."""

    def __init__(self, request: Request, task: asyncio.Future[None]) -> None:
        self.request = request
        self.task = task
        self._events: list[Event] = []
        self._taken = 1

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE):
            await self.task
        return self.request.answer()

    async def event(self) -> Event:
        """The next event of a stream."""
        async with asyncio.timeout(PATIENCE):
            while not self._events:
                while len(self.request.sent) <= self._taken and not self.task.done():
                    self.request.arrived.clear()
                    arriving = asyncio.ensure_future(self.request.arrived.wait())
                    both: set[asyncio.Future[Any]] = {self.task, arriving}
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                    arriving.cancel()
                assert len(self.request.sent) > self._taken, "the stream has ended"
                piece = self.request.sent[self._taken].get("body", b"").decode()
                self._taken += 1
                self._events += [_event(block) for block in piece.split("\n\n") if block and block[0] != ":"]
        return self._events.pop(0)

    async def events_until(self, name: str) -> list[Event]:
        """All up to the first one of that name."""
        found = [await self.event()]
        while found[-1].name != name:
            found.append(await self.event())
        return found

    async def leave(self) -> None:
        """Close the connection."""
        self.request.gone.set()
        self.request.reads.set()
        async with asyncio.timeout(PATIENCE):
            await self.task


def _event(block: str) -> Event:
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it happens."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Web]:
    """A server without any listener, and a client of its application."""
    with Store() as store:
        given: dict[str, Any] = {"smtp": None, "web": None, "is_indexed": False}
        async with InboxServer(store, **given | options) as server:
            yield Web(server)


def mail(
    subject: str = "Hello",
    *,
    to: str = "to@example.com",
    from_: str = "from@example.com",
    text: str = "A text",
    html: str | None = None,
    attachment: tuple[str, bytes] | None = None,
) -> bytes:
    """A message's octets."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = from_, to, subject
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    if attachment is not None:
        name, data = attachment
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


async def put(web: Web, raw: bytes | None = None, **arrival: Any) -> int:
    """Put a message into the store; its id."""
    given: dict[str, Any] = {"mail_from": "from@example.com", "rcpt_tos": ("to@example.com",), "received_at": 1000.0}
    return await asyncio.wrap_future(
        web.server.store.add(Arrival(raw=mail() if raw is None else raw, **given | arrival))
    )
