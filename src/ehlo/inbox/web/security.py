"""Who may ask, and what browsers are told.  Knows requests and their headers; does not know what is asked for.

Three things keep other people's pages away from a server that listens on this machine:

* ``Host`` must be an address, or a name that the server is known by.  A page that makes its own name resolve to
  127.0.0.1 (DNS rebinding) sends that name.
* ``Origin``, where there is one, must be our own: browsers send it with everything that changes something, and with
  every event stream of another origin (CVE-2026-22689 of another catcher was a stream that nobody asked this of).
* ``Sec-Fetch-Site`` must not say that another site asks, except for a link that somebody follows.

A request with a good bearer token needs none of it: no page can know the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from ehlo.inbox.web.errors import ApiError, forbidden

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

API_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": API_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
# What says nothing about mail: the page itself, and whether the server lives.
_FREE_PATHS = ("/static/", "/livez", "/readyz", "/favicon.ico")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.  ``inbox`` None: the owner, who sees everything; otherwise the one inbox that the token is for."""

    inbox: str | None = None


OWNER = Principal()


class Policy:
    """Whom the server lets in.

    ``maybe_token`` is the owner's; where it is None, everybody who reaches the server is the owner, and so it listens
    on the loopback only.  ``find_inbox`` tells whose token of an inbox one is.  ``hosts`` are names that the server
    goes by, beside those of the loopback.
    """

    def __init__(
        self, maybe_token: str | None, find_inbox: Callable[[str], str | None], hosts: Iterable[str] = ()
    ) -> None:
        self._maybe_token = maybe_token
        self._find_inbox = find_inbox
        self._hosts = {"localhost", *(host.lower().rstrip(".") for host in hosts)}

    @property
    def needs_token(self) -> bool:
        """Whether nobody is let in without."""
        return self._maybe_token is not None

    def principal_of(self, token: str) -> Principal | None:
        """Whose token it is; None if it is nobody's."""
        # Octets: compare_digest takes text of ASCII only.
        if self._maybe_token is not None and hmac.compare_digest(token.encode(), self._maybe_token.encode()):
            return OWNER
        inbox = self._find_inbox(token)
        return None if inbox is None else Principal(inbox)

    def is_our_host(self, host: str) -> bool:
        """Whether a Host field names this server."""
        name = host_name(host)
        if name is None:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name in self._hosts or name.endswith(".localhost")
        return True


class Guard:
    """The ASGI application in front of the others; see the module's text."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            scope.setdefault("state", {})["principal"] = self._admit(scope)
        except ApiError as error:
            await error.response()(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _admit(self, scope: Scope) -> Principal:
        headers = Headers(scope=scope)
        maybe_bearer = _bearer(headers.get("authorization"))
        if maybe_bearer is not None:
            principal = self._policy.principal_of(maybe_bearer)
            if principal is None:
                raise _unauthorized("This token is not known")
            return principal
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._policy.is_our_host(hosts[0]):
            raise forbidden("This server does not go by that name; --host tells it another one", "forbidden_host")
        path = scope["path"]
        _check_origin(headers, hosts[0])
        _check_site(headers, scope["method"])
        maybe_cookie = _cookie(headers, scope)
        found = None if maybe_cookie is None else self._policy.principal_of(maybe_cookie)
        if found is not None:
            return found
        is_free = path == "/" or path.startswith(_FREE_PATHS)
        if maybe_cookie and not is_free:
            # Nobody's any more: who had an inbox does not become the owner when it is gone.
            raise _unauthorized("This token is not known, or no longer", {"set-cookie": token_cookie(scope, "")})
        if self._policy.needs_token and not is_free:
            raise _unauthorized("A token is needed: Authorization: Bearer, or /?token= in a browser")
        return OWNER


def host_name(host: str) -> str | None:
    """The name or address in a Host field, without its port, in lower case; None for what is neither."""
    name, separator, port = host.rpartition(":")
    if not separator or (host.endswith("]") and host.startswith("[")):
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit()):
        return None
    name = name.lower().rstrip(".")
    if not name or any(character in name for character in "/@\\?# \t") or (":" in name and not name.startswith("[")):
        return None
    return name


def cookie_name(scope: Scope) -> str:
    """Cookies do not know ports, and there may be several servers on this machine."""
    server = scope.get("server") or ("", 0)
    return f"ehlo_{server[1]}"


def token_cookie(scope: Scope, token: str) -> str:
    """The Set-Cookie field that lets a browser in; an empty token forgets it.

    Lax and not Strict: the link with the token is followed from a terminal or a chat, and the redirect behind it would
    come without a Strict one.
    """
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    age = "" if token else "; Max-Age=0"
    return f"{cookie_name(scope)}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"


def _check_origin(headers: Headers, host: str) -> None:
    for origin in headers.getlist("origin"):
        scheme, _, authority = origin.partition("://")
        if scheme not in {"http", "https"} or _authority(authority, scheme) != _authority(host, scheme):
            raise forbidden("Requests of other origins are not taken", "forbidden_origin")


def _check_site(headers: Headers, method: str) -> None:
    """Fetch Metadata: browsers say who asks, also where they send no Origin, as for an image."""
    if headers.get("sec-fetch-site") not in {"cross-site", "same-site"}:
        return
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    if not (is_link and method in {"GET", "HEAD"}):
        raise forbidden("Requests of other sites are not taken", "forbidden_origin")


def _authority(text: str, scheme: str) -> str:
    return text.lower().removesuffix(":80" if scheme == "http" else ":443")


def _bearer(maybe_field: str | None) -> str | None:
    scheme, _, token = (maybe_field or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _cookie(headers: Headers, scope: Scope) -> str | None:
    try:
        cookies = SimpleCookie("; ".join(headers.getlist("cookie")))
    except CookieError:
        return None
    found = cookies.get(cookie_name(scope))
    return None if found is None else found.value


def _unauthorized(text: str, more: Mapping[str, str] | None = None) -> ApiError:
    return ApiError(401, "unauthorized", text, headers={"www-authenticate": "Bearer"} | dict(more or {}))
