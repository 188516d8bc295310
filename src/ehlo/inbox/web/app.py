"""The web application: the routes of the API, made from its table, the page with its assets, and what operators ask.

Knows how a request becomes a call of an operation, and an error an answer; what operations do is in ``routes_*``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ehlo.inbox.criteria import BadPattern
from ehlo.inbox.errors import NoSuchMessage, NoSuchPart, StoreError
from ehlo.inbox.events import TooManyListeners
from ehlo.inbox.patterns import TooSlow
from ehlo.inbox.query import QuerySyntaxError
from ehlo.inbox.server import known_names
from ehlo.inbox.web import (
    metrics,
    routes_archive,
    routes_faults,
    routes_inboxes,
    routes_live,
    routes_messages,
    routes_report,
)
from ehlo.inbox.web.call import Call, Handler, Shared
from ehlo.inbox.web.errors import ApiError, forbidden, invalid, not_found
from ehlo.inbox.web.openapi import JSON, OPERATIONS, PREFIX, Operation, document
from ehlo.inbox.web.output import Json
from ehlo.inbox.web.release import Targets
from ehlo.inbox.web.security import PAGE_POLICY, Guard, Policy, token_cookie
from ehlo.inbox.web.validation import parse_json, path_parameters, problem_with, query_parameters

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from ehlo.inbox.server import InboxServer

log = logging.getLogger("ehlo.inbox")

BODY_SECONDS = 30.0
"""For the next octets of a request's body."""
DRAIN_OCTETS = 64 << 20
DRAIN_SECONDS = 5.0
"""For reading the rest of a body that is too large."""
SPOOL_OCTETS = 1 << 20
"""A larger body waits in a file."""

STATIC = Path(__file__).with_name("static")
_STATIC_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

_HANDLERS: dict[str, Handler] = {
    **routes_messages.ROUTES,
    **routes_live.ROUTES,
    **routes_inboxes.ROUTES,
    **routes_archive.ROUTES,
    **routes_report.ROUTES,
    **routes_faults.ROUTES,
}


def build_app(server: InboxServer) -> ASGIApp:
    """The application for a server.  ``ValueError`` for a rule of ``release`` that is none."""
    return Guard(_Application(server).starlette(), _policy(server))


def _policy(server: InboxServer) -> Policy:
    def find_inbox(token: str) -> str | None:
        record = server.accounts.find_by_token(token)
        return None if record is None else record.name

    return Policy(server.token, find_inbox, known_names(server.hosts))


class _Application:
    def __init__(self, server: InboxServer) -> None:
        self._server = server
        self._shared = Shared(Targets(server.release))

    def starlette(self) -> Starlette:
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        routes = [
            Route(PREFIX + path, self._endpoint(operations), methods=[*operations])
            for path, operations in by_path.items()
        ]
        routes += [
            Route(f"{PREFIX}/openapi.json", self._document, methods=["GET"]),
            Route("/", self._page, methods=["GET"]),
            Route("/static/{name}", self._asset, methods=["GET"]),
            Route("/favicon.ico", self._icon, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            Route("/livez", self._livez, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
        ]
        handlers: dict[Any, Any] = {
            HTTPException: _http_error,
            Exception: _failure,
            **dict.fromkeys(_KNOWN_ERRORS, _known_error),
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        return app

    # The API

    def _endpoint(self, operations: dict[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            operation = operations["GET" if request.method == "HEAD" else request.method]
            return await self._call(operation, request)

        return endpoint

    async def _call(self, operation: Operation, request: Request) -> Response:
        principal = request.state.principal
        if operation.is_for_owner and principal.inbox is not None:
            raise forbidden("Not for the token of an inbox")
        parameters = path_parameters(operation, request.path_params)
        parameters |= query_parameters(operation, request.query_params.multi_items())
        call = Call(self._server, self._shared, request, principal, parameters)
        with tempfile.SpooledTemporaryFile(SPOOL_OCTETS) as file:
            if operation.body:
                await self._read_body(operation, call, file)
            return await _HANDLERS[operation.name](call)

    async def _read_body(self, operation: Operation, call: Call, file: IO[bytes]) -> None:
        limit = operation.body_limit or self._server.settings.data_size_limit
        size = await _receive(call.request, file, limit)
        given = call.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not size and not given and not operation.body_is_required:
            return
        if given not in operation.body:
            raise ApiError(415, "media_type", f"Content-Type must be {' or '.join(operation.body)}")
        call.media_type = given
        schema = operation.body[given]
        if given != JSON or schema is None:
            call.file = file
            return
        call.body = parse_json(file.read())
        problem = problem_with(call.body, schema, "the body")
        if problem is not None:
            raise invalid(problem)

    async def _document(self, request: Request) -> Response:
        return Json(document())

    # The page

    async def _page(self, request: Request) -> Response:
        token = request.query_params.get("token")
        if token is None:
            return await self._file("index.html", request)
        # The token leaves the address bar, the history and whatever else looks at addresses.
        policy = _policy(self._server)
        response = RedirectResponse("./", 303)
        if token and policy.principal_of(token) is None:
            return PlainTextResponse("This token is not known, or no longer.\n", 401)
        # Anybody's link may let somebody in, who sees that; none forgets a token behind his back.
        if token or request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}:
            response.headers["set-cookie"] = token_cookie(request.scope, token)
        return response

    async def _asset(self, request: Request) -> Response:
        return await self._file(request.path_params["name"], request)

    async def _icon(self, request: Request) -> Response:
        return await self._file("favicon.svg", request)

    async def _file(self, name: str, request: Request) -> Response:
        maybe_content = await self._server.run(_read_static, name)
        if maybe_content is None:
            raise not_found()
        tag = f'"{hashlib.sha256(maybe_content).hexdigest()[:32]}"'
        headers = {"etag": tag, "cache-control": "no-cache", "content-security-policy": PAGE_POLICY}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(maybe_content, headers=headers | {"content-type": _STATIC_TYPES[Path(name).suffix]})

    # For operators

    async def _metrics(self, request: Request) -> Response:
        if request.state.principal.inbox is not None:
            raise forbidden("Not for the token of an inbox")
        server = self._server
        usage = await server.run(lambda: server.store.usage)
        gauges = [
            metrics.Metric("ehlo_inbox_messages", "gauge", "Messages in the store.", usage.messages),
            metrics.Metric("ehlo_inbox_octets", "gauge", "Octets of these messages.", usage.octets),
            metrics.Metric("ehlo_inbox_sessions", "gauge", "SMTP sessions that are open.", len(server.connections)),
            metrics.Metric("ehlo_inbox_waiters", "gauge", "Requests that wait.", server.hub.count(is_stream=False)),
            metrics.Metric("ehlo_inbox_streams", "gauge", "Event streams.", server.hub.count(is_stream=True)),
        ]
        text = metrics.render([*metrics.smtp_metrics(server.stats.as_dict()), *gauges])
        return Response(text, headers={"content-type": metrics.MEDIA_TYPE})

    async def _livez(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        try:
            await self._server.run(lambda: self._server.store.list(limit=1))
        except StoreError:
            return PlainTextResponse("the store cannot be read\n", 503)
        if not self._server.is_serving:
            return PlainTextResponse("no mail is taken\n", 503)
        return PlainTextResponse("ok\n")


async def _receive(request: Request, file: IO[bytes], limit: int | None) -> int:
    """The body, into a file; its size.  413 for one that is too long, before it is read if it says so."""
    announced = request.headers.get("content-length", "")
    chunks = request.stream()
    if limit is not None and announced.isascii() and announced.isdigit() and int(announced[:19]) > limit:
        if "expect" not in request.headers:
            await _drain(chunks)
        raise _too_big(limit)
    size = 0
    while True:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                chunk = await anext(chunks, b"")
        except TimeoutError:
            raise ApiError(408, "timeout", "The body did not come in time", headers={"connection": "close"}) from None
        if not chunk:
            break
        size += len(chunk)
        if limit is not None and size > limit:
            await _drain(chunks)
            raise _too_big(limit)
        file.write(chunk)
    file.seek(0)
    return size


async def _drain(chunks: AsyncGenerator[bytes, None]) -> None:
    """Read what a client goes on sending, for a while: closed on it in the midst of that, it would not see why."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            while size < DRAIN_OCTETS and (chunk := await anext(chunks, b"")):
                size += len(chunk)


def _too_big(limit: int) -> ApiError:
    return ApiError(413, "too_big", f"At most {limit} octets are taken", headers={"connection": "close"})


def _read_static(name: str) -> bytes | None:
    """An asset.  Only names that the folder itself lists: no name that a client makes up is ever opened."""
    known = {path.name for path in STATIC.iterdir()} if STATIC.is_dir() else set()
    if name not in known or Path(name).suffix not in _STATIC_TYPES:
        return None
    return (STATIC / name).read_bytes()


# Errors

_KNOWN_ERRORS = (
    ApiError,
    BadPattern,
    ClientDisconnect,
    NoSuchMessage,
    NoSuchPart,
    QuerySyntaxError,
    StoreError,
    TooManyListeners,
    TooSlow,
    routes_live.ClientGone,
)


async def _known_error(_request: Request, error: Exception) -> Response:
    return _as_api_error(error).response()


def _as_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case NoSuchMessage() | NoSuchPart():
            return not_found()
        case QuerySyntaxError():
            return ApiError(400, "bad_query", str(error), at=error.position)
        case BadPattern():
            return invalid(str(error))
        case TooSlow():
            return ApiError(422, "too_slow", str(error))
        case TooManyListeners():
            return ApiError(429, "too_many", str(error), headers={"retry-after": "5"})
        case StoreError():
            log.error("the store failed: %s", error)
            return ApiError(507, "store", "The store cannot do it; the log says why")
        case _:  # the client is gone: nobody hears it
            return ApiError(499, "gone", "The client is gone")


async def _http_error(_request: Request, error: Exception) -> Response:
    """404 and 405 of the router."""
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
    return ApiError(error.status_code, code, error.detail, headers=error.headers).response()


async def _failure(_request: Request, _error: Exception) -> Response:
    return ApiError(500, "internal", "Internal error; the log says which").response()
